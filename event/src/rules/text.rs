//! Which characters the specification's String type forbids (CloudEvents 1.0.2 §3.1).

/// The first forbidden character: a control character (U+0000 to U+001F, U+007F to U+009F) or a Unicode noncharacter.
pub(crate) fn forbidden(text: &str) -> Option<char> {
    // Nearly every value is printable ASCII: that is told without decoding characters, and without an early end, which
    // makes it a few vector instructions.
    if text
        .bytes()
        .fold(true, |printable, b| printable & (0x20..0x7f).contains(&b))
    {
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
