//! What `millrace explain` tells, without what differs between two runs, as a story to be compared word by
//! word.

use crate::{Mesh, redacted, wait_until};

/// What it answers, on whichever stream. Arguments are separated by one blank.
///
/// # Errors
/// When it cannot be started.
pub async fn explain(mesh: &Mesh, args: &str) -> anyhow::Result<String> {
    let args: Vec<&str> = std::iter::once("explain").chain(args.split(' ')).collect();
    let output = mesh.millrace(&args).await?;
    let said = [output.stdout, output.stderr].concat();
    Ok(redacted(&String::from_utf8(said)?))
}

/// Waits until the answer is that text, whose lines may be indented: the mesh may be about to write something
/// down.
///
/// # Errors
/// When it is another until the deadline.
pub async fn tells(mesh: &Mesh, args: &str, story: &str) -> anyhow::Result<()> {
    let lines: Vec<&str> = story.trim().lines().map(str::trim).collect();
    let story = lines.join("\n");
    wait_until(args, || async {
        let said = explain(mesh, args).await?;
        anyhow::ensure!(said == story, "\n{said}\n\ninstead of\n\n{story}\n");
        Ok(Some(()))
    })
    .await
}

/// Waits until one of the lines begins so.
///
/// # Errors
/// When none does until the deadline.
pub async fn tells_in_a_row(mesh: &Mesh, args: &str, row: &str) -> anyhow::Result<()> {
    wait_until(args, || async {
        let said = explain(mesh, args).await?;
        anyhow::ensure!(
            said.lines().any(|line| line.starts_with(row)),
            "\n{said}\n\nwithout\n\n{row}\n"
        );
        Ok(Some(()))
    })
    .await
}
