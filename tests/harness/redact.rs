//! Removes from a command's output what differs between two runs, so that the rest can be compared word by
//! word.

/// Times become `TIME`, addresses of this machine `HOST`, ids of parked events `PARKED`, numbers in a column
/// `MILLIS`, milliseconds and counts of positions `N`; runs of blanks become one, since they follow from the
/// rest.
pub fn redacted(text: &str) -> String {
    let lines = without_millis(text).into_iter().map(|line| {
        let mut words: Vec<String> = line.split_whitespace().map(word).collect();
        for at in 1..words.len() {
            if words[at] == "ms" && words[at - 1].bytes().all(|byte| byte.is_ascii_digit()) {
                "N".clone_into(&mut words[at - 1]);
            }
        }
        words.join(" ")
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    counts(text.trim())
}

fn word(word: &str) -> String {
    let core = word.trim_end_matches([',', ';', ':', ')', '.']);
    let rest = &word[core.len()..];
    let is_time = core.len() == 24 && core.ends_with('Z') && core.as_bytes().get(10) == Some(&b'T');
    let is_parked = core.len() == 16 && core.bytes().all(|byte| byte.is_ascii_hexdigit());
    let shown = if is_time {
        "TIME".to_owned()
    } else if is_parked {
        "PARKED".to_owned()
    } else {
        host(core)
    };
    format!("{shown}{rest}")
}

/// `http://127.0.0.1:4711/ship` becomes `http://HOST/ship`.
fn host(word: &str) -> String {
    const LOCAL: &str = "127.0.0.1:";
    match word.find(LOCAL) {
        Some(at) => {
            let rest = word[at + LOCAL.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{}HOST{rest}", &word[..at])
        }
        None => word.to_owned(),
    }
}

/// In tables with a column `MILLIS` its numbers become `N`.
fn without_millis(text: &str) -> Vec<String> {
    let mut column = None;
    let line = |line: &str| {
        if line.is_empty() {
            column = None;
        }
        if let Some(at) = line.find("MILLIS") {
            column = Some(at);
            return line.to_owned();
        }
        match column.and_then(|at| Some((line.get(..at)?, line.get(at..)?))) {
            Some((before, after)) => {
                format!(
                    "{before}N{}",
                    after.trim_start_matches(|c: char| c.is_ascii_digit())
                )
            }
            None => line.to_owned(),
        }
    };
    text.lines().map(line).collect()
}

/// `the trigger has 17 positions` becomes `the trigger has N positions`.
fn counts(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for at in 1..words.len() {
        if words[at] == "positions" && words[at - 1].bytes().all(|byte| byte.is_ascii_digit()) {
            words[at - 1] = "N";
        }
    }
    words.join(" ")
}
