//! The word that somebody probably meant.

/// Words longer than this are not compared: the work grows with the square.
const MAX_LENGTH: usize = 64;

/// The known word nearest to `word`, if one is near enough to be what was meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > MAX_LENGTH {
        return None;
    }
    known
        .iter()
        .map(|candidate| {
            (
                distance(&word.to_lowercase(), &candidate.to_lowercase()),
                *candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .filter(|(distance, candidate)| *distance == 0 || !is_other_word(word, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether a word as short as a candidate of three letters differs by another letter: `and` is no misspelt
/// `any`. Only letters that changed places are.
fn is_other_word(word: &str, candidate: &str) -> bool {
    let letters = |text: &str| {
        let mut letters: Vec<char> = text.to_lowercase().chars().collect();
        letters.sort_unstable();
        letters
    };
    let (a, b) = (letters(word), letters(candidate));
    b.len() <= 3 && a.len() <= b.len() && a != b
}

/// How many letters must be put in, left out, exchanged, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let exchanged = last[j] + usize::from(x != y);
            let mut best = exchanged.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_mistakes_are_recognised_and_other_words_are_not() {
        let known = [
            "broker",
            "brokerRef",
            "filter",
            "filters",
            "subscriber",
            "delivery",
        ];
        let cases = [
            ("subscribr", Some("subscriber")),
            ("brokerref", Some("brokerRef")),
            ("filtres", Some("filters")),
            ("Delivery", Some("delivery")),
            ("borker", Some("broker")),
            ("replicas", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
        let dialects = ["all", "any", "not", "exact"];
        for (word, expected) in [
            ("and", None),
            ("or", None),
            ("nor", None),
            ("an", None),
            ("no", None),
            ("alll", Some("all")),
            ("nto", Some("not")),
            ("ANY", Some("any")),
            ("exakt", Some("exact")),
        ] {
            assert_eq!(nearest(word, &dialects), expected, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(10_000), &known), None);
    }
}
