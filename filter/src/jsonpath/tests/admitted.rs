//! Which paths are admitted.

use super::*;

#[test]
fn what_is_no_path_or_could_cost_anything_is_refused_in_words() {
    let long = format!("$.{}", "a".repeat(MAX_PATH_BYTES));
    let brackets = format!("$[?{}@.a{}]", "(".repeat(200), ")".repeat(200));
    let functions = format!("$[?{}@.a{}]", "length(".repeat(100), ")".repeat(100));
    let lists = format!("${}", "[0,0]".repeat(13));
    let table = [
        ("", "begins with `$`"),
        ("a.b", "begins with `$`"),
        ("$.", "at column"),
        ("$.a b", "in quotes"),
        ("$.a  b", "in quotes"),
        ("$[?@.a == ]", "at column"),
        (&*long, "longer than"),
        (&*brackets, "nested"),
        (&*functions, "nested"),
        (&*lists, "over and over"),
        ("$..a..b..c", "over and over"),
        ("$[?match(@.a, 'x.*')]", "`match()` is not supported"),
        ("$.a[?@.b && (search(@.c, 'x'))]", "`search()` is not supported"),
        ("$[?in(@.a, 'x')]", "there is no function `in()`"),
        ("$[?$..a == 1]", "JSONPath"),
        ("$[?$..a]", "may only name one place"),
        (
            "$[?@.a == 18446744073709551616]",
            "at column 11: a whole number in a path",
        ),
        ("$[?-9007199254740992 < @.a]", "in the map form"),
        ("$[?1e400 > @.a]", "64 bits"),
    ];
    for (path, expected) in table {
        let message = JsonPath::new(path).expect_err(path).message;
        assert!(message.contains(expected), "{path}: {message}");
        assert!(!message.contains('\n') && message.len() < 500, "{message}");
    }
    for path in [
        "$",
        "$.a['b'][3]",
        "$..a..b",
        "$[?count(@..x) > 1]",
        "$[?@.a == $.b.c]",
        "$['a b']",
        "$[?@.a == 'x y' && @.b]",
        "$[?@.a == 9007199254740991 || @.a == -9007199254740991]",
    ] {
        assert!(JsonPath::new(path).is_ok(), "{path}");
    }
}
