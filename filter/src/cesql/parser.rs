//! Tokens as a tree, by the grammar of the specification.
//!
//! Tightest first: calls and literals; NOT and the sign; LIKE and IN; `* / %`; `+ -`; comparisons; AND, OR
//! and XOR. The last three stand on one level and take everything behind them, as in the grammar that the
//! reference implementations share: `a AND b OR c` is `a AND (b OR c)`.

use super::expression::{Arithmetic, Compare, Kind, Logic, Node};
use super::functions::Function;
use super::lexer::{Kind as Is, Token, Word, tokens, unescaped};
use super::like::Pattern;
use super::{MAX_NESTING, SyntaxError};
use crate::clause::Attr;
use crate::compile::MAX_NAME_BYTES;

/// The tree of a whole text.
pub(crate) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        depth: 0,
    };
    let root = parser.chain()?;
    match parser.peek().kind {
        Is::End => Ok(root),
        kind => parser.refuse(format!("the expression is complete before {}", kind.shown())),
    }
}

struct Parser<'t> {
    tokens: &'t [Token<'t>],
    next: usize,
    /// How many brackets and prefixes are open.
    depth: usize,
}

/// How tight a binary operator binds; all of them to the left.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Tightness {
    Comparison,
    Sum,
    Product,
}

#[derive(Clone, Copy)]
enum Binary {
    Compare(Compare),
    Arithmetic(Arithmetic),
}

impl<'t> Parser<'t> {
    /// Operands joined by AND, OR and XOR.
    fn chain(&mut self) -> Result<Node, SyntaxError> {
        self.enter()?;
        let start = self.peek().start;
        let first = self.binary(Tightness::Comparison)?;
        let (mut operands, mut operators) = (vec![first], Vec::new());
        while let Is::Word(word) = self.peek().kind {
            operators.push(match word {
                Word::And => Logic::And,
                Word::Or => Logic::Or,
                Word::Xor => Logic::Xor,
                Word::Not | Word::Like | Word::Exists | Word::In => break,
            });
            self.next += 1;
            operands.push(self.binary(Tightness::Comparison)?);
        }
        self.depth -= 1;
        if operators.is_empty() {
            return Ok(operands.remove(0));
        }
        self.node(Kind::Chain(operands.into(), operators.into()), start)
    }

    /// Comparisons, sums and products, as far as they bind at least so tight.
    fn binary(&mut self, least: Tightness) -> Result<Node, SyntaxError> {
        let start = self.peek().start;
        let mut left = self.tested()?;
        while let Some((tightness, operator)) = operator(self.peek().kind).filter(|(is, _)| *is >= least) {
            self.next += 1;
            let right = match tightness {
                Tightness::Comparison => self.binary(Tightness::Sum)?,
                Tightness::Sum => self.binary(Tightness::Product)?,
                Tightness::Product => self.tested()?,
            };
            let both = Box::new([left, right]);
            let kind = match operator {
                Binary::Compare(compare) => Kind::Compare(compare, both),
                Binary::Arithmetic(arithmetic) => Kind::Arithmetic(arithmetic, both),
            };
            left = self.node(kind, start)?;
        }
        Ok(left)
    }

    /// Something, and the LIKE and IN that follow it.
    fn tested(&mut self) -> Result<Node, SyntaxError> {
        let start = self.peek().start;
        let mut of = self.prefixed()?;
        loop {
            let negated = self.peek().kind == Is::Word(Word::Not);
            let word = self.tokens[(self.next + usize::from(negated)).min(self.tokens.len() - 1)].kind;
            let like = match word {
                Is::Word(Word::Like) => true,
                Is::Word(Word::In) => false,
                _ => return Ok(of),
            };
            self.next += 1 + usize::from(negated);
            let of_what = Box::new(of);
            let kind = if like {
                let pattern = self.pattern()?;
                Kind::Like {
                    of: of_what,
                    pattern,
                    negated,
                }
            } else {
                self.expect("(", "the set behind IN")?;
                let set = self.list()?.into();
                Kind::In {
                    of: of_what,
                    set,
                    negated,
                }
            };
            of = self.node(kind, start)?;
        }
    }

    fn pattern(&mut self) -> Result<Pattern, SyntaxError> {
        match self.peek().kind {
            Is::Text(raw) => {
                self.next += 1;
                Ok(Pattern::new(raw))
            }
            kind => self.refuse(format!(
                "LIKE needs a pattern in quotes here, not {}",
                kind.shown()
            )),
        }
    }

    /// NOT and the sign, which bind tighter than every operator: `NOT a = b` is `(NOT a) = b`.
    fn prefixed(&mut self) -> Result<Node, SyntaxError> {
        let start = self.peek().start;
        match self.peek().kind {
            Is::Word(Word::Not) => {
                self.next += 1;
                let inner = self.nested(Self::prefixed)?;
                self.node(Kind::Not(Box::new(inner)), start)
            }
            Is::Sign(sign @ ("-" | "+")) => {
                self.next += 1;
                if let Is::Digits(digits) = self.peek().kind {
                    return self.integer(&format!("{sign}{digits}"), start);
                }
                if sign == "+" {
                    return self.refuse("a number is expected behind `+`".to_owned());
                }
                let inner = self.nested(Self::prefixed)?;
                self.node(Kind::Negate(Box::new(inner)), start)
            }
            _ => self.primary(),
        }
    }

    fn primary(&mut self) -> Result<Node, SyntaxError> {
        let token = self.peek();
        let start = token.start;
        match token.kind {
            Is::Digits(digits) => return self.integer(digits, start),
            Is::Text(raw) => {
                self.next += 1;
                return self.node(Kind::Text(unescaped(raw).into()), start);
            }
            Is::Sign("(") => {
                self.next += 1;
                let inner = self.chain()?;
                self.expect(")", "the closing bracket")?;
                return Ok(inner);
            }
            Is::Word(Word::Exists) => {
                self.next += 1;
                let attr = self.attribute("EXISTS needs the name of an attribute here")?;
                return self.node(Kind::Exists(attr), start);
            }
            Is::Name(name) if self.tokens[self.next + 1].kind == Is::Sign("(") => {
                self.next += 2;
                return self.call(name, start);
            }
            Is::Name(name) => {
                let truth = name.eq_ignore_ascii_case("true");
                if truth || name.eq_ignore_ascii_case("false") {
                    self.next += 1;
                    return self.node(Kind::Boolean(truth), start);
                }
            }
            Is::Word(_) | Is::Sign(_) | Is::End => {}
        }
        let attr = self.attribute("a value is expected here")?;
        self.node(Kind::Attribute(attr), start)
    }

    fn integer(&mut self, text: &str, start: usize) -> Result<Node, SyntaxError> {
        let Ok(number) = text.parse() else {
            return self.refuse(format!("{text} is out of the range of an Integer (32 bits)"));
        };
        self.next += 1;
        self.node(Kind::Integer(number), start)
    }

    fn call(&mut self, name: &str, start: usize) -> Result<Node, SyntaxError> {
        let arguments = if self.peek().kind == Is::Sign(")") {
            self.next += 1;
            Vec::new()
        } else {
            self.list()?
        };
        let function =
            Function::find(name, arguments.len()).map_err(|message| SyntaxError { at: start, message })?;
        self.node(Kind::Call(function, arguments.into()), start)
    }

    /// The rest of a list whose opening bracket has been read.
    fn list(&mut self) -> Result<Vec<Node>, SyntaxError> {
        let mut items = vec![self.chain()?];
        while self.peek().kind == Is::Sign(",") {
            self.next += 1;
            items.push(self.chain()?);
        }
        self.expect(")", "a comma or the closing bracket")?;
        Ok(items)
    }

    /// The attribute that is named here, in lower case as CloudEvents has them.
    fn attribute(&mut self, otherwise: &str) -> Result<Attr, SyntaxError> {
        let Is::Name(name) = self.peek().kind else {
            return self.refuse(format!("{otherwise}, not {}", self.peek().kind.shown()));
        };
        if name.contains('_') || name.len() > MAX_NAME_BYTES {
            let rule = format!("letters and digits, {MAX_NAME_BYTES} at most");
            return self.refuse(format!("this is no name of an attribute: {rule}"));
        }
        let name = name.to_ascii_lowercase();
        if name == "data" {
            let message = "`data` is not an attribute: expressions see only the attributes of an event";
            return self.refuse(message.to_owned());
        }
        self.next += 1;
        Ok(Attr::new(&name))
    }

    // === helpers ===

    fn peek(&self) -> Token<'t> {
        self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn expect(&mut self, sign: &'static str, what: &str) -> Result<(), SyntaxError> {
        let kind = self.peek().kind;
        if kind != Is::Sign(sign) {
            return self.refuse(format!(
                "{what} (`{sign}`) is expected here, not {}",
                kind.shown()
            ));
        }
        self.next += 1;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), SyntaxError> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return self.refuse(format!(
                "the expression may be nested {MAX_NESTING} deep, and not deeper"
            ));
        }
        Ok(())
    }

    fn nested<T>(&mut self, inner: fn(&mut Self) -> Result<T, SyntaxError>) -> Result<T, SyntaxError> {
        self.enter()?;
        let inner = inner(self)?;
        self.depth -= 1;
        Ok(inner)
    }

    /// A part that begins at `start` and ends before the next token.
    fn node(&self, kind: Kind, start: usize) -> Result<Node, SyntaxError> {
        let end = self
            .next
            .checked_sub(1)
            .map_or(start, |last| self.tokens[last].end);
        let mut node = Node {
            kind,
            span: (start, end),
            height: 1,
        };
        node.height += node
            .children()
            .iter()
            .map(|child| child.height)
            .max()
            .unwrap_or(0);
        if node.height > MAX_NESTING {
            return Err(SyntaxError {
                at: start,
                message: format!("the expression may be nested {MAX_NESTING} deep, and not deeper"),
            });
        }
        Ok(node)
    }

    fn refuse<T>(&self, message: String) -> Result<T, SyntaxError> {
        Err(SyntaxError {
            at: self.peek().start,
            message,
        })
    }
}

fn operator(kind: Is<'_>) -> Option<(Tightness, Binary)> {
    let Is::Sign(sign) = kind else { return None };
    let compare = |compare| Some((Tightness::Comparison, Binary::Compare(compare)));
    let arithmetic = |tightness, arithmetic| Some((tightness, Binary::Arithmetic(arithmetic)));
    match sign {
        "=" => compare(Compare::Equal),
        "!=" | "<>" => compare(Compare::NotEqual),
        "<" => compare(Compare::Less),
        "<=" => compare(Compare::LessOrEqual),
        ">" => compare(Compare::Greater),
        ">=" => compare(Compare::GreaterOrEqual),
        "+" => arithmetic(Tightness::Sum, Arithmetic::Add),
        "-" => arithmetic(Tightness::Sum, Arithmetic::Subtract),
        "*" => arithmetic(Tightness::Product, Arithmetic::Multiply),
        "/" => arithmetic(Tightness::Product, Arithmetic::Divide),
        "%" => arithmetic(Tightness::Product, Arithmetic::Modulo),
        _ => None,
    }
}
