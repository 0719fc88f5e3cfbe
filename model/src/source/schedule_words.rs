//! What is wrong with a field of a schedule, said of the field as it is written, with what to write instead.

/// The lowest and the highest value of each field: second, minute, hour, day of month, month, day of week.
const BOUNDS: [(u32, u32); 6] = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
/// The fields with names, and the number of the first.
const MONTH: usize = 4;
const DAY: usize = 5;
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// What is wrong with a field, as far as it is one of the usual mistakes. The text is ASCII or not; nothing
/// is cut within a character.
pub(super) fn wrong(index: usize, field: &str) -> Option<String> {
    let items: Vec<&str> = field.split(',').collect();
    if items.len() > 1 && items.iter().any(|item| item.is_empty()) {
        let rest: Vec<&str> = items.into_iter().filter(|item| !item.is_empty()).collect();
        return Some(if rest.is_empty() {
            format!("`{field}` is a list with nothing in it")
        } else {
            format!(
                "`{field}` has nothing between two commas or at an end: write {}",
                rest.join(",")
            )
        });
    }
    if items.len() > 1 && items.iter().any(|item| matches!(*item, "*" | "?")) {
        let rest: Vec<&str> = items
            .into_iter()
            .filter(|item| !matches!(*item, "*" | "?"))
            .collect();
        let rest = if rest.is_empty() {
            "*".to_owned()
        } else {
            format!("* or {}", rest.join(","))
        };
        return Some(format!("`{field}`: `*` already means every value: write {rest}"));
    }
    items.iter().find_map(|item| of_item(index, item))
}

fn of_item(index: usize, item: &str) -> Option<String> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (item, None),
    };
    if step.is_some_and(|step| !step.is_empty() && step.bytes().all(|c| c == b'0')) {
        return Some(format!("`{item}` steps by 0: write a step from 1 on"));
    }
    if range.is_empty() && step.is_some() {
        return Some(format!("`{item}` has no beginning: write *{item}"));
    }
    let ends: Vec<&str> = range.split('-').collect();
    let short: Vec<String> = ends.iter().map(|end| shortened(index, end)).collect();
    if short.iter().zip(&ends).any(|(short, end)| short != end) {
        let step = step.map(|step| format!("/{step}")).unwrap_or_default();
        return Some(format!(
            "`{item}` is spelled out: write {}{step}",
            short.join("-")
        ));
    }
    let (low, high) = *BOUNDS.get(index)?;
    for end in &ends {
        if let Ok(number) = end.parse::<u64>()
            && !(u64::from(low)..=u64::from(high)).contains(&number)
        {
            return Some(format!("`{item}`: there are {low} to {high}"));
        }
    }
    match ends[..] {
        [from, to] => backwards(index, item, from, to),
        _ => None,
    }
}

/// A range from a later value to an earlier one.
fn backwards(index: usize, item: &str, from: &str, to: &str) -> Option<String> {
    let (low, high) = *BOUNDS.get(index)?;
    let high = if index == DAY { 6 } else { high };
    let (first, last) = (value(index, from)?, value(index, to)?);
    if first <= last || item.contains('/') {
        return (first > last).then(|| format!("`{item}` runs backwards: write two ranges without a step"));
    }
    let range = |a: u32, b: u32| if a == b { a.to_string() } else { format!("{a}-{b}") };
    Some(format!(
        "`{item}` runs backwards: write {},{}",
        range(first, high),
        range(low, last)
    ))
}

/// The number of a value.
fn value(index: usize, text: &str) -> Option<u32> {
    let named = |names: &[&str], first: u32| {
        let at = names.iter().position(|name| {
            name.get(..3)
                .is_some_and(|short| short.eq_ignore_ascii_case(text))
        })?;
        Some(first + u32::try_from(at).ok()?)
    };
    text.parse().ok().or_else(|| match index {
        MONTH => named(&MONTHS, 1),
        DAY => named(&DAYS, 0),
        _ => None,
    })
}

/// A name that is spelled out, as its first three letters; anything else as it is.
fn shortened(index: usize, text: &str) -> String {
    let names: &[&str] = match index {
        MONTH => &MONTHS,
        DAY => &DAYS,
        _ => &[],
    };
    let lower = text.to_ascii_lowercase();
    let is = |name: &&&str| {
        let begins = lower.len() > 3 && name.starts_with(&lower);
        begins || lower.strip_suffix('s') == Some(**name)
    };
    match names.iter().find(is) {
        Some(name) => name.get(..3).unwrap_or(name).to_ascii_uppercase(),
        None => text.to_owned(),
    }
}
