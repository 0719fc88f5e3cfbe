//! `millrace access`: makes tokens, and checks access files.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use millrace_access::file::{AccessFile, written};
use millrace_access::grants::BrokerPattern;
use millrace_access::{Role, Token};
use millrace_event::Clock;

use crate::cli::exit::Exit;
use crate::cli::out::{self, Output};
use crate::cli::values::parse_duration;

/// `millrace access`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// Make a token. It is shown only now; its entry in the access file holds its SHA-256
    Token(TokenArgs),
    /// Say what is wrong with an access file
    Check {
        /// The access file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// `millrace access token`.
#[derive(clap::Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("grants").args(["brokers", "admin_role"]).multiple(true).required(true))]
pub(crate) struct TokenArgs {
    /// Who gets it; stands in logs
    #[arg(long, value_name = "NAME", value_parser = parse_token_name)]
    name: String,
    /// A Broker to which it may publish: NAMESPACE/NAME, NAMESPACE/* or *. Repeat it for more
    #[arg(long = "broker", value_name = "BROKER", value_parser = parse_pattern)]
    brokers: Vec<String>,
    /// What it may do on the admin side
    #[arg(long, value_name = "ROLE", value_enum)]
    admin_role: Option<RoleArg>,
    /// How long it is good
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_duration)]
    expires: Duration,
    /// Write the token into this new file, which only you can read, and print only the entry
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

/// A role on the admin side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleArg {
    /// See how everything stands, with the events
    Read,
    /// Change something, too
    Operate,
}

/// Makes a token, or checks a file.
pub(crate) fn access(command: &AccessCommand, output: Output) -> anyhow::Result<Exit> {
    match command {
        AccessCommand::Token(args) => token(args, output),
        AccessCommand::Check { file } => Ok(check(file)),
    }
}

fn check(file: &Path) -> Exit {
    match AccessFile::load(file) {
        Ok(read) => {
            out::remark(&format!("{} is valid.", file.display()));
            if !read.asks_who_calls() {
                out::remark("It has no `authentication`: anybody may call, which needs --allow-anonymous.");
            }
            Exit::Ok
        }
        Err(error) => {
            out::remark(&error.to_string());
            Exit::Invalid
        }
    }
}

fn token(args: &TokenArgs, output: Output) -> anyhow::Result<Exit> {
    let token = Token::make()?;
    if let Some(file) = &args.into
        && let Err(error) = write_secret(file, token.secret())
    {
        out::remark(&format!("error: {} cannot be written: {error}", file.display()));
        return Ok(Exit::Failed);
    }
    let expires = expiry(args.expires);
    let hash = token.hash().to_string();
    let role = args.admin_role.map(|role| match role {
        RoleArg::Read => Role::Read.name(),
        RoleArg::Operate => Role::Operate.name(),
    });
    match output {
        Output::Json => {
            let mut entry = serde_json::json!({"name": args.name, "sha256": hash, "expires": expires});
            if !args.brokers.is_empty() {
                entry["brokers"] = serde_json::json!(args.brokers);
            }
            if let Some(role) = role {
                entry["admin"] = serde_json::json!(role);
            }
            let shown = args.into.is_none().then(|| token.secret());
            out::json(&serde_json::json!({"token": shown, "entry": entry}));
        }
        Output::Table => {
            let entry = entry(args, &hash, &expires, role);
            if args.into.is_some() {
                out::data(entry.trim_end());
            } else {
                out::data(&format!(
                    "The token, which is shown only now:\n\n  {}\n\nIts entry in the access file, below `tokens:` of \
                     `authentication:`\n\n{entry}",
                    token.secret()
                ));
            }
        }
    }
    Ok(Exit::Ok)
}

/// The entry as it stands in the file. A name in double quotes, escaped as in JSON, is a text in YAML.
fn entry(args: &TokenArgs, hash: &str, expires: &str, role: Option<&str>) -> String {
    let name = serde_json::Value::String(args.name.clone());
    let mut entry = format!("    - name: {name}\n      sha256: {hash}\n      expires: {expires}\n");
    if !args.brokers.is_empty() {
        let brokers = serde_json::json!(args.brokers);
        entry.push_str(&format!("      brokers: {brokers}\n"));
    }
    if let Some(role) = role {
        entry.push_str(&format!("      admin: {role}\n"));
    }
    entry
}

/// The end of that time from now on.
fn expiry(after: Duration) -> String {
    written(Clock::System.now().after(after))
}

fn write_secret(file: &Path, secret: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

fn parse_pattern(text: &str) -> Result<String, String> {
    let pattern: Result<BrokerPattern, _> = text.parse();
    pattern
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

fn parse_token_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 253 || text.chars().any(char::is_control) {
        return Err("from 1 to 253 bytes without control characters are expected".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(name: &str) -> TokenArgs {
        TokenArgs {
            name: name.to_owned(),
            brokers: vec!["shop/default".to_owned(), "shop/*".to_owned()],
            admin_role: Some(RoleArg::Operate),
            expires: Duration::from_secs(90),
            into: None,
        }
    }

    #[test]
    fn an_entry_can_be_pasted_into_an_access_file_whatever_the_name() {
        for name in ["till", "a: b", "'\"#", "- x", "é"] {
            let hash = Token::make().expect("a token").hash().to_string();
            let entry = entry(
                &args(name),
                &hash,
                &expiry(Duration::from_secs(90)),
                Some("operate"),
            );
            let file = format!("authentication:\n  tokens:\n{entry}");
            AccessFile::parse(&file).unwrap_or_else(|error| panic!("{error}: {file}"));
        }
    }

    #[test]
    fn a_token_is_written_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("till.token");
        let mut args = args("till");
        args.into = Some(file.clone());
        assert_eq!(token(&args, Output::Table).expect("made"), Exit::Ok);
        let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let before = std::fs::read_to_string(&file).expect("a token");
        assert_eq!(token(&args, Output::Table).expect("refused"), Exit::Failed);
        assert_eq!(std::fs::read_to_string(&file).expect("a token"), before);
    }
}
