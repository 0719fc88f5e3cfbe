//! The functions of the language: their names, how many arguments they take, and what they do.

use std::borrow::Cow;
use std::ops::Range;

use super::value::{Type, Value};

/// A function with a number of arguments that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Abs,
    Bool,
    Concat,
    ConcatWs,
    Int,
    Left,
    Length,
    Lower,
    Right,
    String,
    Substring,
    Trim,
    Upper,
}

/// Why a function gives no proper value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Out of an Integer's range.
    Math,
    /// An argument that the function has no answer to.
    Argument,
}

/// Name, function, the least and the most arguments.
const TABLE: [(&str, Function, usize, usize); 13] = [
    ("ABS", Function::Abs, 1, 1),
    ("BOOL", Function::Bool, 1, 1),
    ("CONCAT", Function::Concat, 0, usize::MAX),
    ("CONCAT_WS", Function::ConcatWs, 1, usize::MAX),
    ("INT", Function::Int, 1, 1),
    ("LEFT", Function::Left, 2, 2),
    ("LENGTH", Function::Length, 1, 1),
    ("LOWER", Function::Lower, 1, 1),
    ("RIGHT", Function::Right, 2, 2),
    ("STRING", Function::String, 1, 1),
    ("SUBSTRING", Function::Substring, 2, 3),
    ("TRIM", Function::Trim, 1, 1),
    ("UPPER", Function::Upper, 1, 1),
];

// === impl Function ===

impl Function {
    /// The function of this name (in any case) for so many arguments.
    ///
    /// # Errors
    /// A sentence when there is none.
    pub(crate) fn find(name: &str, arguments: usize) -> Result<Self, String> {
        let Some((name, function, least, most)) =
            TABLE.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))
        else {
            let names: Vec<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
            return Err(format!(
                "there is no function {}; there are {}",
                name.to_ascii_uppercase(),
                names.join(", ")
            ));
        };
        if (*least..=*most).contains(&arguments) {
            return Ok(*function);
        }
        let takes = match (least, most) {
            (least, most) if least == most => least.to_string(),
            (least, &usize::MAX) => format!("{least} or more"),
            (least, most) => format!("{least} or {most}"),
        };
        Err(format!(
            "there is no function {name} of {arguments} arguments; it takes {takes}"
        ))
    }

    pub(crate) fn returns(self) -> Type {
        match self {
            Self::Abs | Self::Int | Self::Length => Type::Integer,
            Self::Bool => Type::Boolean,
            Self::Concat
            | Self::ConcatWs
            | Self::Left
            | Self::Lower
            | Self::Right
            | Self::String
            | Self::Substring
            | Self::Trim
            | Self::Upper => Type::Text,
        }
    }

    /// The type to which the argument at `at` is cast.
    pub(crate) fn takes(self, at: usize) -> Type {
        match self {
            Self::Abs | Self::Int => Type::Integer,
            Self::Bool => Type::Boolean,
            Self::Left | Self::Right | Self::Substring if at > 0 => Type::Integer,
            Self::Left | Self::Right | Self::Substring => Type::Text,
            Self::Concat
            | Self::ConcatWs
            | Self::Length
            | Self::Lower
            | Self::String
            | Self::Trim
            | Self::Upper => Type::Text,
        }
    }

    /// The value for arguments that have been counted and cast; on failure the value that stands for it.
    pub(crate) fn call<'x>(self, arguments: Vec<Value<'x>>) -> Result<Value<'x>, (Wrong, Value<'x>)> {
        let mut texts = Vec::new();
        let mut numbers = Vec::new();
        for argument in arguments {
            match argument {
                Value::Text(text) => texts.push(text),
                Value::Integer(number) => numbers.push(number),
                // Only BOOL takes one, and gives it back.
                Value::Boolean(_) => return Ok(argument),
            }
        }
        let text = |text| Ok(Value::Text(text));
        match (self, texts.as_slice(), numbers.as_slice()) {
            (Self::Concat, all, _) => text(all.concat().into()),
            (Self::ConcatWs, [between, all @ ..], _) => text(all.join(&**between).into()),
            (Self::Abs, _, [number]) => match number.checked_abs() {
                Some(number) => Ok(Value::Integer(number)),
                None => Err((Wrong::Math, Value::Integer(i32::MAX))),
            },
            (Self::Int, _, [number]) => Ok(Value::Integer(*number)),
            (Self::Length, [of], _) => Ok(Value::Integer(
                i32::try_from(of.chars().count()).unwrap_or(i32::MAX),
            )),
            (Self::Lower, [of], _) => text(of.to_lowercase().into()),
            (Self::Upper, [of], _) => text(of.to_uppercase().into()),
            (Self::Trim, [of], _) => {
                let end = of.trim_end().len();
                text(part(of, end - of[..end].trim_start().len()..end))
            }
            (Self::String, [of], _) => text(of.clone()),
            (Self::Left, [of], [count]) => match usize::try_from(*count) {
                Ok(count) => text(part(of, 0..byte_of(of, count))),
                Err(_) => Err((Wrong::Argument, Value::Text(of.clone()))),
            },
            (Self::Right, [of], [count]) => match usize::try_from(*count) {
                Ok(count) => {
                    let start = of.chars().count().saturating_sub(count);
                    text(part(of, byte_of(of, start)..of.len()))
                }
                Err(_) => Err((Wrong::Argument, Value::Text(of.clone()))),
            },
            (Self::Substring, [of], [from, count @ ..]) => substring(of, *from, count.first().copied())
                .map(Value::Text)
                .ok_or((Wrong::Argument, Type::Text.zero())),
            // The arguments have been counted and cast.
            _ => Err((Wrong::Argument, self.returns().zero())),
        }
    }
}

/// A part of a text, borrowed where the text is.
fn part<'x>(of: &Cow<'x, str>, range: Range<usize>) -> Cow<'x, str> {
    match of {
        Cow::Borrowed(of) => Cow::Borrowed(&of[range]),
        Cow::Owned(of) => Cow::Owned(of[range].to_owned()),
    }
}

/// Where the character at this place begins; the end of the text if there are fewer.
fn byte_of(text: &str, chars: usize) -> usize {
    text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at)
}

/// From the character at `from` (1 is the first, -1 the last) on, at most `count` of them. Nothing from 0 on.
fn substring<'x>(of: &Cow<'x, str>, from: i32, count: Option<i32>) -> Option<Cow<'x, str>> {
    let length = of.chars().count();
    let count = match count {
        None => usize::MAX,
        Some(count) => usize::try_from(count).ok()?,
    };
    let distance = usize::try_from(from.unsigned_abs()).ok()?;
    if distance > length {
        return None;
    }
    let start = match from {
        0 => return Some(Cow::Borrowed("")),
        1.. => distance - 1,
        _ => length - distance,
    };
    let start = byte_of(of, start);
    Some(part(of, start..start + byte_of(&of[start..], count)))
}
