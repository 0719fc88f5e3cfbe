//! Which characters stand where: in names, in values as they are, and which the String type forbids
//! (CloudEvents 1.0.2 §3.1).

/// Not one of `[a-z0-9]`.
const NOT_NAME: u8 = 1;
/// Not a visible ASCII character or space.
const NOT_PRINTABLE: u8 = 2;
/// A quote or a percent sign.
const MARK: u8 = 4;

/// What each octet is not. Every name and value of every event is looked at: one look-up an octet beats
/// comparisons.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = match octet as u8 {
            b'a'..=b'z' | b'0'..=b'9' => 0,
            b'"' | b'%' => NOT_NAME | MARK,
            b' '..=b'~' => NOT_NAME,
            _ => NOT_NAME | NOT_PRINTABLE,
        };
        octet += 1;
    }
    table
};

/// The classes of all octets together, without an early end, as nearly all texts are good.
fn classes(octets: &[u8]) -> u8 {
    octets
        .iter()
        .fold(0, |classes, &octet| classes | CLASS[usize::from(octet)])
}

/// Whether all characters may stand in an attribute's name.
pub(crate) fn is_name(text: &str) -> bool {
    classes(text.as_bytes()) & NOT_NAME == 0
}

/// Whether there is a quote or a percent sign.
pub(crate) fn is_marked(octets: &[u8]) -> bool {
    classes(octets) & MARK != 0
}

/// The first forbidden character: a control character (U+0000 to U+001F, U+007F to U+009F) or a Unicode
/// noncharacter.
pub(crate) fn forbidden(text: &str) -> Option<char> {
    if classes(text.as_bytes()) & NOT_PRINTABLE == 0 {
        return None;
    }
    text.chars().find(|&c| is_forbidden(c))
}

fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_controls_and_noncharacters_are_forbidden() {
        for code in 0..=u32::from(char::MAX) {
            let Some(c) = char::from_u32(code) else { continue };
            let expected = code < 0x20
                || (0x7f..=0x9f).contains(&code)
                || (0xfdd0..=0xfdef).contains(&code)
                || code % 0x10000 >= 0xfffe;
            assert_eq!(
                forbidden(c.encode_utf8(&mut [0; 4])).is_some(),
                expected,
                "U+{code:04X}"
            );
        }
    }
}
