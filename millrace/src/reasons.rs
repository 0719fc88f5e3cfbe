//! An error as a sentence, for the log and for the terminal.

/// An error with what led to it. Some errors repeat their cause in their own sentence: no reason is said
/// twice.
pub(crate) fn reasons(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_and_every_reason_is_said() {
        let cause = || std::io::Error::other("no room");
        let twice = anyhow::Error::new(cause()).context("could not make d: no room");
        assert_eq!(reasons(&twice), "could not make d: no room");
        let thrice = anyhow::Error::new(cause())
            .context("writing")
            .context("the backup failed");
        assert_eq!(reasons(&thrice), "the backup failed: writing: no room");
    }
}
