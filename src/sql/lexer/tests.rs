use super::*;
use crate::wire::encoding::ClientEncoding;

/// The tokens of a text, each as it stands there, separated by a bar.
fn tokens(text: &str, dialect: Dialect) -> String {
    let tokens = Lexer::new(text.as_bytes(), 0, dialect);
    tokens
        .map(|token| &text[token.start..token.end])
        .collect::<Vec<_>>()
        .join(" | ")
}

#[test]
fn tokens_are_cut_where_the_server_cuts_them() {
    for (text, expected) in [
        ("select a.b,1", "select | a | . | b | , | 1"),
        ("'it''s' x", "'it''s' | x"),
        (r"'a\' x", r"'a\' | x"),
        (r"E'a\'b' x", r"E'a\'b' | x"),
        (r"e'\\' x", r"e'\\' | x"),
        ("'a'\n  'b' 'c'", "'a'\n  'b' | 'c'"),
        ("'a' -- no\n 'b'", "'a' -- no\n 'b'"),
        ("'a' /* no */\n 'b'", "'a' | /* no */ | 'b'"),
        ("'a' 'b'", "'a' | 'b'"),
        ("b'01'\n'1' x'f'''", "b'01'\n'1' | x'f' | ''"),
        ("n'x'", "n | 'x'"),
        (
            "U&'a''b' UESCAPE '!' u&\"q\"\"r\"",
            "U&'a''b' | UESCAPE | '!' | u&\"q\"\"r\"",
        ),
        ("u&x u & 'x'", "u | & | x | u | & | 'x'"),
        ("$$a;b$$ $x$ $$ $x$ $1a$2", "$$a;b$$ | $x$ $$ $x$ | $1 | a$2"),
        ("a$b$c$b$", "a$b$c$b$"),
        ("1$a$x$a$", "1 | $a$x$a$"),
        ("$a$ $b$a$ x", "$a$ $b$a$ | x"),
        ("$1$", "$1 | $"),
        ("\"a;\"\"b\"c", "\"a;\"\"b\" | c"),
        (
            "1.5e-3 .5 1..10 0x1F 1_000 1e x",
            "1.5e-3 | .5 | 1 | .. | 10 | 0x1F | 1_000 | 1 | e | x",
        ),
        (
            "a::int b:=1 a[1:2]",
            "a | :: | int | b | := | 1 | a | [ | 1 | : | 2 | ]",
        ),
        ("/* a /* b */ c */ d", "/* a /* b */ c */ | d"),
        ("/*/*/ x", "/*/*/ x"),
        ("/***/ x", "/***/ | x"),
        ("-- x\ry", "-- x | y"),
        ("@-- x", "@ | -- x"),
        ("a*/*c*/b", "a | * | /*c*/ | b"),
        (
            "=-1 @- x <>-1 +-+ *-- x",
            "= | - | 1 | @- | x | <> | - | 1 | + | - | + | * | -- x",
        ),
        ("->>'k' @> <=", "->> | 'k' | @> | <="),
        ("naïve日本 x", "naïve日本 | x"),
        ("'open", "'open"),
        ("$q$open", "$q$open"),
        ("/* open /* */", "/* open /* */"),
        ("E'\\", "E'\\"),
        ("'x'\n", "'x'"),
    ] {
        assert_eq!(tokens(text, Dialect::default()), expected, "{text}");
    }
}

#[test]
fn a_backslash_escapes_where_strings_do_not_conform_to_the_standard() {
    let dialect = Dialect {
        standard_conforming_strings: false,
        ..Dialect::default()
    };
    assert_eq!(tokens(r"'a\' x' y", dialect), r"'a\' x' | y");
    assert_eq!(tokens(r"$$\$$ y", dialect), r"$$\$$ | y");
}

#[test]
fn the_second_byte_of_a_character_is_no_backslash() {
    let dialect = |encoding| Dialect {
        encoding,
        ..Dialect::default()
    };
    let ends_in_backslash = b"E'\x83\\' x";
    assert_eq!(
        Lexer::new(ends_in_backslash, 0, dialect(ClientEncoding::Sjis)).count(),
        2
    );
    assert_eq!(
        Lexer::new(ends_in_backslash, 0, dialect(ClientEncoding::Latin1)).count(),
        1
    );
    assert_eq!(
        Lexer::new(b"E'\\\x83\\' x", 0, dialect(ClientEncoding::Sjis)).count(),
        2
    );
    assert_eq!(
        Lexer::new(b"\x81\x7c x", 0, dialect(ClientEncoding::Sjis)).count(),
        2
    );
    assert_eq!(
        Lexer::new(b"$\x83\\$ $ $\x83\\$ x", 0, dialect(ClientEncoding::Sjis)).count(),
        2
    );
}
