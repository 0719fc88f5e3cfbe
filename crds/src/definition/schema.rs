//! What a field may hold: its type with its bounds, and the rules that go beyond a type.
//!
//! Every text, list and mapping has a bound, because Kubernetes multiplies the cost of a rule by the bounds
//! of all that encloses it. Every field has a description; it is what `kubectl explain` shows.

use serde_json::{Map, Value, json};

use super::rule::Rule;

/// What a field may hold.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    /// For people: meaning, unit, default.
    pub(crate) says: String,
    pub(crate) holds: Holds,
    pub(crate) rules: Vec<Rule>,
    /// What the API server writes where the field is missing.
    pub(crate) default: Option<Value>,
}

/// A type with its bounds.
#[derive(Clone, Debug)]
pub(crate) enum Holds {
    /// A text of at most so many characters.
    Text(u32),
    /// One of these words.
    Word(Vec<&'static str>),
    /// A whole number, from the first to the second.
    Whole(i64, i64),
    /// True or false.
    Truth,
    /// A list with at least and at most so many items.
    List(Box<Schema>, u32, u32),
    /// A mapping whose keys are the user's, with at most so many of them.
    Map(Box<Schema>, u32),
    /// A mapping with these fields.
    Object {
        /// The fields, in the order in which they are explained.
        fields: Vec<Field>,
        /// Whether fields that are not listed are stored. Others are dropped by the API server.
        keeps_others: bool,
        /// Whether it must have a field at all.
        needs_one: bool,
    },
    /// Anything: the controller judges it.
    Anything,
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    pub(crate) is_needed: bool,
}

/// A field that may be missing.
pub(crate) fn optional(name: &'static str, schema: Schema) -> Field {
    Field {
        name,
        schema,
        is_needed: false,
    }
}

/// A field that must be there.
pub(crate) fn needed(name: &'static str, schema: Schema) -> Field {
    Field {
        is_needed: true,
        ..optional(name, schema)
    }
}

/// The words of a table that a reader looks them up in.
pub(crate) fn words<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(word, _)| *word).collect()
}

// === impl Schema ===

impl Schema {
    fn new(says: &str, holds: Holds) -> Self {
        Self {
            says: says.to_owned(),
            holds,
            rules: Vec::new(),
            default: None,
        }
    }

    /// A text.
    pub(crate) fn string(says: &str, most: u32) -> Self {
        Self::new(says, Holds::Text(most))
    }

    /// One of a few words.
    pub(crate) fn word(says: &str, words: Vec<&'static str>) -> Self {
        Self::new(says, Holds::Word(words))
    }

    /// A whole number.
    pub(crate) fn whole(says: &str, least: u32, most: u32) -> Self {
        Self::new(says, Holds::Whole(least.into(), most.into()))
    }

    /// A number that the cluster counts.
    pub(crate) fn count(says: &str) -> Self {
        Self::new(says, Holds::Whole(0, i64::MAX))
    }

    /// True or false.
    pub(crate) fn truth(says: &str) -> Self {
        Self::new(says, Holds::Truth)
    }

    /// A list.
    pub(crate) fn list(says: &str, items: Self, least: u32, most: u32) -> Self {
        Self::new(says, Holds::List(Box::new(items), least, most))
    }

    /// A mapping whose keys are the user's.
    pub(crate) fn map(says: &str, values: Self, most: u32) -> Self {
        Self::new(says, Holds::Map(Box::new(values), most))
    }

    /// A mapping with these fields.
    pub(crate) fn object(says: &str, fields: Vec<Field>) -> Self {
        let holds = Holds::Object {
            fields,
            keeps_others: false,
            needs_one: false,
        };
        Self::new(says, holds)
    }

    /// Anything.
    pub(crate) fn anything(says: &str) -> Self {
        Self::new(says, Holds::Anything)
    }

    /// The same, with a rule.
    pub(crate) fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The same, with what stands there when nothing does.
    pub(crate) fn or_else(mut self, default: Value) -> Self {
        self.default = Some(default);
        self
    }

    /// The same object, which keeps fields that it does not list.
    pub(crate) fn keeping_others(mut self) -> Self {
        if let Holds::Object { keeps_others, .. } = &mut self.holds {
            *keeps_others = true;
        }
        self
    }

    /// The same object, which must have a field at all.
    pub(crate) fn not_empty(mut self) -> Self {
        if let Holds::Object { needs_one, .. } = &mut self.holds {
            *needs_one = true;
        }
        self
    }

    /// The name of its type in JSON; `None` where it may be any.
    pub(crate) fn type_name(&self) -> Option<&'static str> {
        match self.holds {
            Holds::Text(_) | Holds::Word(_) => Some("string"),
            Holds::Whole(..) => Some("integer"),
            Holds::Truth => Some("boolean"),
            Holds::List(..) => Some("array"),
            Holds::Map(..) | Holds::Object { .. } => Some("object"),
            Holds::Anything => None,
        }
    }

    /// The schema as Kubernetes has it.
    pub(crate) fn openapi(&self) -> Value {
        let mut out = Map::new();
        let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
        put("description", json!(self.says));
        if let Some(name) = self.type_name() {
            put("type", json!(name));
        }
        match &self.holds {
            Holds::Text(most) => {
                put("maxLength", json!(most));
            }
            Holds::Word(words) => {
                put("enum", json!(words));
            }
            Holds::Whole(least, most) => {
                let is_narrow = i32::try_from(*most).is_ok();
                put("format", json!(if is_narrow { "int32" } else { "int64" }));
                put("minimum", json!(least));
                if is_narrow {
                    put("maximum", json!(most));
                }
            }
            Holds::Truth => {}
            Holds::List(items, least, most) => {
                put("items", items.openapi());
                put("maxItems", json!(most));
                if *least > 0 {
                    put("minItems", json!(least));
                }
            }
            Holds::Map(values, most) => {
                put("additionalProperties", values.openapi());
                put("maxProperties", json!(most));
            }
            Holds::Object {
                fields,
                keeps_others,
                needs_one,
            } => {
                let properties = fields
                    .iter()
                    .map(|field| (field.name.to_owned(), field.schema.openapi()));
                put("properties", Value::Object(properties.collect()));
                let needed: Vec<&str> = fields.iter().filter(|f| f.is_needed).map(|f| f.name).collect();
                if !needed.is_empty() {
                    put("required", json!(needed));
                }
                if *keeps_others {
                    put("x-kubernetes-preserve-unknown-fields", json!(true));
                }
                if *needs_one {
                    put("minProperties", json!(1));
                }
            }
            Holds::Anything => {
                put("x-kubernetes-preserve-unknown-fields", json!(true));
            }
        }
        if let Some(default) = &self.default {
            put("default", default.clone());
        }
        if !self.rules.is_empty() {
            let rules = self.rules.iter().map(Rule::validation).collect();
            put("x-kubernetes-validations", rules);
        }
        Value::Object(out)
    }
}
