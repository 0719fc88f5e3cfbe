//! What `brokers` and `triggers` share: all objects of a kind are listed, one is shown, and those that are
//! gone are forgotten.

use http::Method;
use millrace_event::ObjectName;
use serde_json::Value;

use crate::cli::admin::{AdminApi, NotDone, members, segment};
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output};
use crate::cli::reach::Reach;

/// A kind of object in the admin API.
pub(super) struct Kind {
    /// Its path.
    pub(super) path: &'static str,
    /// Several of them, for people.
    pub(super) plural: &'static str,
    /// The table of a list that is not empty.
    pub(super) table: fn(&[Value]) -> String,
}

/// What is asked of a kind.
pub(super) enum Asked<'a> {
    /// A list.
    All,
    /// One object, with its settings.
    One(&'a ObjectName),
    /// That these are forgotten.
    Forget(&'a [ObjectName]),
}

// === impl Kind ===

impl Kind {
    /// Does what is asked.
    pub(super) async fn answer(
        &self,
        asked: Asked<'_>,
        reach: &Reach,
        output: Output,
    ) -> anyhow::Result<Exit> {
        let api = match AdminApi::new(reach) {
            Ok(api) => api,
            Err(exit) => return Ok(exit),
        };
        let done = match asked {
            Asked::All => self.show(&api, self.path, output).await,
            Asked::One(name) => self.show(&api, &self.path_of(name), output).await,
            Asked::Forget(names) => self.forget(&api, names, output).await,
        };
        Ok(done.map_or_else(|refused| refused.report(), |()| Exit::Ok))
    }

    async fn show(&self, api: &AdminApi, path: &str, output: Output) -> Result<(), NotDone> {
        let answer = api.get(path).await?;
        match (output, &answer) {
            (Output::Json, _) => out::json(&answer),
            (Output::Table, Value::Array(list)) if list.is_empty() => {
                out::remark(&format!("There are no {}.", self.plural));
            }
            (Output::Table, Value::Array(list)) => out::data(&(self.table)(list)),
            (Output::Table, one) => out::data(&members(one)),
        }
        Ok(())
    }

    async fn forget(&self, api: &AdminApi, names: &[ObjectName], output: Output) -> Result<(), NotDone> {
        for name in names {
            api.change(Method::DELETE, &self.path_of(name)).await?;
            match output {
                Output::Table => out::remark(&format!("{name} is forgotten.")),
                Output::Json => out::json(&serde_json::json!({"forgotten": name.to_string()})),
            }
        }
        Ok(())
    }

    fn path_of(&self, name: &ObjectName) -> String {
        format!(
            "{}/{}/{}",
            self.path,
            segment(name.namespace()),
            segment(name.name())
        )
    }
}
