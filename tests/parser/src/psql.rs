//! What psql sends of a script: the scripts of the regression suite are written for it.
//!
//! Backslash commands, variables and the data of COPY are psql's; a statement ends in a `;` outside of quotes,
//! parentheses and the body of a routine. This is another reading of these rules than that of `bemi::sql`, on purpose.

use std::collections::HashMap;

use crate::corpus::Text;

/// Commands that send what was collected so far.
const SENDING: &[&str] = &[
    "g",
    "gx",
    "gset",
    "gexec",
    "gdesc",
    "crosstabview",
    "watch",
    "bind",
    "parse",
];

/// Commands whose argument is the rest of the line.
const WHOLE_LINE: &[&str] = &["copy", "!", "ef", "ev", "h", "help", "sf", "sv"];

/// What a script holds.
#[derive(Debug, Default)]
pub struct Script {
    pub sent: Vec<Text>,
    pub commands: usize,
    pub lines_of_data: usize,
}

/// Reads a script.
pub fn read(script: &str) -> Script {
    let mut reader = Reader {
        script,
        bytes: script.as_bytes(),
        at: 0,
        buffer: String::new(),
        nesting: Nesting::default(),
        branches: Vec::new(),
        variables: HashMap::new(),
        standard_conforming_strings: true,
        read: Script::default(),
    };
    while reader.at < reader.bytes.len() {
        reader.step();
    }
    reader.send();
    reader.read
}

/// What may hide a `;`.
#[derive(Debug, Default, Clone)]
struct Nesting {
    parentheses: usize,
    bodies: usize,
    /// The first words of the statement.
    words: Vec<String>,
}

impl Nesting {
    fn see(&mut self, word: &str) {
        let word = word.to_ascii_lowercase();
        if self.words.len() < 4 {
            self.words.push(word.clone());
        }
        let words: Vec<_> = self.words.iter().map(String::as_str).collect();
        let is_routine = matches!(
            words.as_slice(),
            ["create", "function" | "procedure", ..] | ["create", "or", "replace", "function" | "procedure"]
        );
        if !is_routine || self.parentheses > 0 {
            return;
        }
        match word.as_str() {
            "begin" => self.bodies += 1,
            "case" if self.bodies > 0 => self.bodies += 1,
            "end" => self.bodies = self.bodies.saturating_sub(1),
            _ => (),
        }
    }
}

/// `\if`: whether its text counts, and what to go back to if not.
struct Branch {
    counts: bool,
    is_settled: bool,
    buffer_len: usize,
    nesting: Nesting,
}

struct Reader<'a> {
    script: &'a str,
    bytes: &'a [u8],
    at: usize,
    buffer: String,
    nesting: Nesting,
    branches: Vec<Branch>,
    variables: HashMap<String, String>,
    standard_conforming_strings: bool,
    read: Script,
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_variable(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit()
}

impl Reader<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// Takes the script up to there into the buffer.
    fn take(&mut self, end: usize) {
        let end = end.min(self.bytes.len());
        self.buffer += &self.script[self.at..end];
        self.at = end;
    }

    fn find(&self, what: &str, from: usize) -> Option<usize> {
        Some(from + self.script.get(from..)?.find(what)?)
    }

    fn end_of_line(&self) -> usize {
        self.find("\n", self.at).unwrap_or(self.bytes.len())
    }

    fn run(&self, from: usize, like: fn(u8) -> bool) -> usize {
        (from..self.bytes.len())
            .find(|at| !like(self.bytes[*at]))
            .unwrap_or(self.bytes.len())
    }

    fn step(&mut self) {
        let next = self.byte(self.at + 1);
        match self.byte(self.at) {
            b'\'' => self.string(1, !self.standard_conforming_strings),
            b'e' | b'E' if next == b'\'' => self.string(2, true),
            b'"' => {
                let end = self
                    .find("\"", self.at + 1)
                    .map_or(self.bytes.len(), |end| end + 1);
                self.take(end);
            }
            b'$' => self.dollar(),
            b'-' if next == b'-' => self.take(self.end_of_line()),
            b'/' if next == b'*' => self.comment(),
            b':' => self.colon(),
            b'\\' if next == b';' => {
                self.at += 1;
                self.take(self.at + 1);
            }
            b'\\' => self.command(),
            b'(' => {
                self.nesting.parentheses += 1;
                self.take(self.at + 1);
            }
            b')' => {
                self.nesting.parentheses = self.nesting.parentheses.saturating_sub(1);
                self.take(self.at + 1);
            }
            b';' if self.nesting.parentheses == 0 && self.nesting.bodies == 0 => {
                self.take(self.at + 1);
                self.send();
            }
            byte if starts_word(byte) => {
                let end = self.run(self.at, continues_word);
                self.nesting.see(&self.script[self.at..end]);
                self.take(end);
            }
            byte if byte.is_ascii_digit() => self.take(self.run(self.at, continues_word)),
            _ => self.take(self.at + 1),
        }
    }

    /// A string, with what goes on in the next line, whose escapes are of the same kind.
    fn string(&mut self, prefix: usize, escapes: bool) {
        let mut at = self.at + prefix;
        while at < self.bytes.len() {
            match self.byte(at) {
                b'\\' if escapes => at += 2,
                b'\'' if self.byte(at + 1) == b'\'' => at += 2,
                b'\'' => {
                    let end = at + 1;
                    let next = self.run(end, |byte| byte.is_ascii_whitespace());
                    if self.byte(next) != b'\'' || !self.script[end..next].contains('\n') {
                        return self.take(end);
                    }
                    at = next + 1;
                }
                _ => at += 1,
            }
        }
        self.take(at);
    }

    fn dollar(&mut self) {
        let tag = self.run(self.at + 1, is_variable);
        if self.byte(tag) != b'$' || self.byte(self.at + 1).is_ascii_digit() {
            return self.take(tag.max(self.at + 1));
        }
        let delimiter = self.script[self.at..=tag].to_owned();
        let end = self.find(&delimiter, tag + 1).map(|end| end + delimiter.len());
        self.take(end.unwrap_or(self.bytes.len()));
    }

    fn comment(&mut self) {
        let mut depth = 0;
        let mut at = self.at;
        while at < self.bytes.len() {
            match (self.byte(at), self.byte(at + 1)) {
                (b'/', b'*') => (depth, at) = (depth + 1, at + 2),
                (b'*', b'/') => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        self.take(at);
    }

    /// `:name`, `:'name'` and `:"name"` where there is such a variable; `::`, `:=` and slices of arrays stay.
    fn colon(&mut self) {
        let next = self.byte(self.at + 1);
        if matches!(next, b':' | b'=') {
            return self.take(self.at + 2);
        }
        let is_quoted = matches!(next, b'\'' | b'"');
        let start = self.at + 1 + usize::from(is_quoted);
        let end = self.run(start, is_variable);
        let name = &self.script[start..end];
        if name.is_empty() || (is_quoted && self.byte(end) != next) {
            return self.take(self.at + 1);
        }
        let value = self.variables.get(name).cloned();
        match (is_quoted, value) {
            // What \gset made is not known here; in quotes any value will do.
            (true, value) => {
                let quote = char::from(next);
                let value = value
                    .unwrap_or_else(|| name.to_owned())
                    .replace(quote, &format!("{quote}{quote}"));
                self.buffer += &format!("{quote}{value}{quote}");
            }
            (false, Some(value)) => self.buffer += &value,
            (false, None) => return self.take(end),
        }
        self.at = end + usize::from(is_quoted);
    }

    fn command(&mut self) {
        self.read.commands += 1;
        let name_end = self.run(self.at + 1, |byte| {
            byte.is_ascii_alphanumeric() || b"!?_+-".contains(&byte)
        });
        let name = self.script[self.at + 1..name_end].to_owned();
        // The one command that psql knows in capitals, too.
        let name = if name.eq_ignore_ascii_case("copy") {
            "copy".to_owned()
        } else {
            name
        };
        self.at = name_end;
        if WHOLE_LINE.contains(&name.as_str()) {
            let end = self.end_of_line();
            let line = self.script[self.at..end].to_ascii_lowercase();
            self.at = end;
            if name == "copy" && line.contains("from stdin") {
                self.skip_data(1);
            }
            return;
        }
        let arguments = self.arguments();
        match name.as_str() {
            "set" => {
                if let Some((variable, values)) = arguments.split_first() {
                    self.variables.insert(variable.clone(), values.concat());
                }
            }
            "unset" => {
                self.variables
                    .remove(arguments.first().map_or("", String::as_str));
            }
            "r" | "reset" => self.forget(),
            "if" => {
                let truth = truth(&arguments);
                self.branches.push(Branch {
                    counts: truth != Some(false),
                    is_settled: truth == Some(true),
                    buffer_len: self.buffer.len(),
                    nesting: self.nesting.clone(),
                });
            }
            "elif" => self.next_branch(truth(&arguments)),
            "else" => self.next_branch(Some(true)),
            "endif" => {
                self.leave_branch();
                self.branches.pop();
            }
            name if SENDING.contains(&name) => self.send(),
            _ => (),
        }
    }

    /// Arguments up to the end of the line, the next command, or `\\`, which goes back to SQL.
    fn arguments(&mut self) -> Vec<String> {
        let end = self.end_of_line();
        let mut arguments = Vec::new();
        while self.at < end {
            match self.byte(self.at) {
                b'\\' if self.byte(self.at + 1) == b'\\' => {
                    self.at += 2;
                    break;
                }
                b'\\' => break,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => arguments.push(self.argument(end)),
            }
        }
        arguments
    }

    fn argument(&mut self, end: usize) -> String {
        let mut argument = String::new();
        while self.at < end {
            let byte = self.byte(self.at);
            match byte {
                b'\'' | b'"' | b'`' => {
                    let quote = char::from(byte).to_string();
                    let close = self.find(&quote, self.at + 1).map_or(end, |close| close.min(end));
                    argument += &self.script[self.at + 1..close.max(self.at + 1)];
                    self.at = (close + 1).min(end);
                }
                b':' if is_variable(self.byte(self.at + 1)) => {
                    let to = self.run(self.at + 1, is_variable);
                    let name = &self.script[self.at + 1..to];
                    argument += self.variables.get(name).map_or(name, String::as_str);
                    self.at = to;
                }
                b'\\' => break,
                _ if byte.is_ascii_whitespace() => break,
                _ => {
                    let to = (self.at + 1..=end)
                        .find(|at| self.script.is_char_boundary(*at))
                        .unwrap_or(end);
                    argument += &self.script[self.at..to];
                    self.at = to;
                }
            }
        }
        argument
    }

    fn next_branch(&mut self, truth: Option<bool>) {
        self.leave_branch();
        let (buffer_len, nesting) = (self.buffer.len(), self.nesting.clone());
        if let Some(branch) = self.branches.last_mut() {
            branch.counts = !branch.is_settled && truth != Some(false);
            branch.is_settled |= truth == Some(true);
            (branch.buffer_len, branch.nesting) = (buffer_len, nesting);
        }
    }

    fn leave_branch(&mut self) {
        if let Some(branch) = self.branches.last().filter(|branch| !branch.counts) {
            self.buffer.truncate(branch.buffer_len);
            self.nesting = branch.nesting.clone();
        }
    }

    fn forget(&mut self) {
        self.buffer.clear();
        self.nesting = Nesting::default();
    }

    fn send(&mut self) {
        let text = std::mem::take(&mut self.buffer);
        self.nesting = Nesting::default();
        if self.branches.iter().any(|branch| !branch.counts)
            || text.trim_matches([';', ' ', '\n', '\t']).is_empty()
        {
            return;
        }
        let words: Vec<_> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
        let words = words.join(" ");
        let blocks = if words.contains("copy ") {
            words.matches("from stdin").count()
        } else {
            0
        };
        self.read.sent.push(Text {
            text,
            standard_conforming_strings: self.standard_conforming_strings,
        });
        for (setting, value) in [("on", true), ("off", false)] {
            let is_set =
                |sign: &str| words.contains(&format!("set standard_conforming_strings {sign} {setting}"));
            if is_set("to") || is_set("=") {
                self.standard_conforming_strings = value;
            }
        }
        if blocks > 0 {
            self.skip_data(blocks);
        }
    }

    /// Skips the lines up to `\.`; a COPY that fails has none.
    fn skip_data(&mut self, blocks: usize) {
        let line_starts = self.find("\n", self.at).map_or(self.bytes.len(), |end| end + 1);
        let rest = &self.script[line_starts..];
        let mut skipped = 0;
        let mut lines = 0;
        for _ in 0..blocks {
            for line in rest[skipped..].split_inclusive('\n') {
                skipped += line.len();
                lines += 1;
                if line.trim_end() == "\\." {
                    break;
                }
                if is_sql(line) {
                    return;
                }
            }
        }
        self.at = line_starts + skipped;
        self.read.lines_of_data += lines;
    }
}

/// Whether a line cannot be data: those of the suite look otherwise.
fn is_sql(line: &str) -> bool {
    let line = line.trim().to_ascii_lowercase();
    let starts = [
        "copy ",
        "select ",
        "create ",
        "drop ",
        "insert ",
        "alter ",
        "truncate ",
        "begin",
        "commit",
        "rollback",
    ];
    (line.ends_with(';') && starts.iter().any(|start| line.starts_with(start))) || line.starts_with("--")
}

fn truth(arguments: &[String]) -> Option<bool> {
    match arguments.first()?.to_ascii_lowercase().as_str() {
        "true" | "t" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "f" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(script: &str) -> Vec<String> {
        read(script)
            .sent
            .into_iter()
            .map(|text| text.text.trim().to_owned())
            .collect()
    }

    #[test]
    fn a_script_falls_apart_as_psql_sends_it() {
        for (script, expected) in [
            ("select 1; select 2;", &["select 1;", "select 2;"][..]),
            ("select 1\\; select 2;", &["select 1; select 2;"]),
            (
                "select ';', E'\\';', $$;$$ /* ; */ -- ;\n;",
                &["select ';', E'\\';', $$;$$ /* ; */ -- ;\n;"],
            ),
            (
                "select 1 \\gset x_ \\\\ select 2;\n\\d t\nselect 3;",
                &["select 1", "select 2;", "select 3;"],
            ),
            (
                "\\set a 'b c'\nselect :a, :'a', x[1:2], y::int, :nothing;",
                &["select b c, 'b c', x[1:2], y::int, :nothing;"],
            ),
            (
                "copy t from stdin;\n1\t;\n\\.\nselect 1;",
                &["copy t from stdin;", "select 1;"],
            ),
            (
                "copy t from stdin;\nselect 1;\ncopy t from stdin;\n1\n\\.\n",
                &["copy t from stdin;", "select 1;", "copy t from stdin;"],
            ),
            (
                "create function f() begin atomic select case when true then 1 end; end; select 1;",
                &[
                    "create function f() begin atomic select case when true then 1 end; end;",
                    "select 1;",
                ],
            ),
            (
                "create rule r as do (a; b); c;",
                &["create rule r as do (a; b);", "c;"],
            ),
            (
                "\\if false\nselect (1;\n\\else\nselect 2;\n\\endif\nselect 3;",
                &["select 2;", "select 3;"],
            ),
        ] {
            assert_eq!(sent(script), expected, "{script}");
        }
    }
}
