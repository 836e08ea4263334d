//! The SQL of specifications for PostgreSQL's isolation tester: whatever stands in braces is sent as one text.

/// The texts of a specification.
pub fn read(spec: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = spec;
    while let Some(at) = rest.find(['#', '"', '{']) {
        let (end, skip) = match rest.as_bytes()[at] {
            b'#' => ("\n", 1),
            b'"' => ("\"", 1),
            _ => ("}", 1),
        };
        let inside = &rest[at + skip..];
        let close = inside.find(end).unwrap_or(inside.len());
        if end == "}" {
            texts.push(inside[..close].to_owned());
        }
        rest = inside.get(close + 1..).unwrap_or_default();
    }
    texts
}

#[test]
fn a_specification_sends_what_stands_in_braces() {
    let spec = "# not { this }\nsetup { create table t (a int); }\nsession \"a{b\"\nstep s { update t set a = 1; }\npermutation s";
    assert_eq!(read(spec), [" create table t (a int); ", " update t set a = 1; "]);
}
