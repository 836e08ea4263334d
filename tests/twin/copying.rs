//! COPY, both ways, in both protocols, with and without accidents.

use super::message::{self, Bound};
use super::session::Act;
use super::statements::Author;

/// The start of every binary COPY ("Binary Format" in the manual's page on COPY): signature, flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Csv,
    Binary,
}

impl Author {
    pub fn copy_in(&mut self, acts: &mut Vec<Act>) {
        let format = self
            .dice
            .pick(&[Format::Text, Format::Text, Format::Csv, Format::Binary]);
        let table = self.dice.pick(&[
            "t (id, v)",
            "t (id, v)",
            "ruled",
            "parts",
            "seen (id, v)",
            "nowhere",
        ]);
        let (label, options) = match format {
            Format::Text => ("copy: text in", ""),
            Format::Csv => ("copy: CSV in", " (FORMAT csv)"),
            Format::Binary => ("copy: binary in", " (FORMAT binary)"),
        };
        self.label(label);
        let copy = format!("COPY {table} FROM STDIN{options}");
        let is_extended = self.dice.chance(40);
        if is_extended {
            self.label("copy: in the extended protocol");
            acts.push(self.say(message::parse("", copy.as_bytes(), &[])));
            acts.push(self.say(message::bind("", "", &Bound::default())));
            acts.push(self.say(message::execute("", 0)));
        } else {
            let (before, behind) = self.around();
            acts.push(self.say(message::query(format!("{before}{copy}{behind}").as_bytes())));
        }
        if self.dice.chance(15) {
            acts.push(Act::Wait);
        }
        self.data(format, acts);
        self.end_of_data(acts);
        if is_extended {
            self.sync(acts);
        }
    }

    /// What stands in the same Query.
    fn around(&mut self) -> (String, String) {
        if self.dice.chance(60) {
            return Default::default();
        }
        self.label("copy: among other statements");
        let (before, behind) = (self.write(), self.statement());
        let line_end = if behind.contains("--") { "\n" } else { "" };
        match self.dice.below(3) {
            0 => (format!("{before}\n; "), String::new()),
            1 => (String::new(), format!("; {behind}{line_end}")),
            _ => (format!("{before}\n; "), format!("; {behind}{line_end}")),
        }
    }

    fn data(&mut self, format: Format, acts: &mut Vec<Act>) {
        let mut data = if format == Format::Binary {
            BINARY_HEADER.to_vec()
        } else {
            Vec::new()
        };
        for _ in 0..self.dice.below(5) {
            let id = self.id();
            match format {
                Format::Text => data.extend_from_slice(format!("{id}\tcopié\n").as_bytes()),
                Format::Csv => data.extend_from_slice(format!("{id},\"copied \"\"é\"\"\n;\"\n").as_bytes()),
                Format::Binary => {
                    data.extend_from_slice(b"\0\x02\0\0\0\x04");
                    data.extend_from_slice(&id.to_be_bytes());
                    data.extend_from_slice(b"\0\0\0\x03bin");
                }
            }
        }
        if self.dice.chance(15) {
            self.label("copy: bad data");
            let wrong: &[&[u8]] = &[
                b"no number\tx\n",
                b"7\n",
                b"7\tx\ty\n",
                b"\xff\xfe\n",
                b"1\tdouble\n",
                b"\0\x05",
            ];
            let wrong = self.dice.pick(wrong);
            data.extend_from_slice(wrong);
        } else if format == Format::Binary {
            data.extend_from_slice(b"\xff\xff");
        } else if self.dice.chance(10) {
            self.label("copy: end-of-data marker");
            data.extend_from_slice(b"\\.\n");
        }
        let pieces = self.dice.between(1, 4);
        let size = data.len().div_ceil(pieces).max(1);
        for piece in data.chunks(size) {
            self.label("copy: data");
            acts.push(self.say(message::frame(b'd', piece)));
            match self.dice.below(14) {
                0 => {
                    self.label("copy: Flush inside");
                    acts.push(self.say(message::flush()));
                }
                1 => {
                    self.label("copy: Sync inside");
                    acts.push(self.say(message::sync()));
                }
                2 => {
                    self.label("copy: empty data");
                    acts.push(self.say(message::frame(b'd', b"")));
                }
                _ => {}
            }
        }
    }

    fn end_of_data(&mut self, acts: &mut Vec<Act>) {
        match self.dice.below(100) {
            0..78 => acts.push(self.say(message::frame(b'c', b""))),
            78..94 => {
                self.label("copy: CopyFail");
                acts.push(self.say(message::frame(b'f', "the client has had enough é\0".as_bytes())));
            }
            94..97 => {
                self.label("copy: another message inside");
                let inside = match self.dice.below(4) {
                    0 => message::query(b"INSERT INTO t (id) VALUES (77)"),
                    1 => message::parse("", b"SELECT 1", &[]),
                    2 => message::execute("", 0),
                    _ => message::function_call(177, &[], false),
                };
                acts.push(self.say(inside));
            }
            _ => self.label("copy: without an end"),
        }
    }

    pub fn copy_out(&mut self, acts: &mut Vec<Act>) {
        let options = self.dice.pick(&["", " (FORMAT csv, HEADER)", " (FORMAT binary)"]);
        let what = self.dice.pick(&[
            "(SELECT id, v FROM t ORDER BY id)",
            "(SELECT g, repeat('é', 50) FROM generate_series(1, 40) g)",
            "(INSERT INTO t (id, v) VALUES (88, 'notice out') RETURNING id)",
            "(SELECT 1/0)",
            "parent",
            "(SELECT 10/(3 - g) FROM generate_series(1, 5) g)",
        ]);
        self.label(match options {
            "" => "copy: text out",
            " (FORMAT binary)" => "copy: binary out",
            _ => "copy: CSV out",
        });
        let copy = format!("COPY {what} TO STDOUT{options}");
        if self.dice.chance(40) {
            self.label("copy: in the extended protocol");
            acts.push(self.say(message::parse("", copy.as_bytes(), &[])));
            acts.push(self.say(message::bind("", "", &Bound::default())));
            acts.push(self.say(message::named(b'D', b'P', "")));
            acts.push(self.say(message::execute("", 1)));
            self.sync(acts);
        } else {
            let (before, behind) = self.around();
            acts.push(self.say(message::query(format!("{before}{copy}{behind}").as_bytes())));
        }
    }

    /// Messages of COPY where there is none.
    pub fn copy_messages_alone(&mut self, acts: &mut Vec<Act>) {
        self.label("copy: messages out of COPY");
        for _ in 0..self.dice.between(1, 3) {
            let bytes = match self.dice.below(3) {
                0 => message::frame(b'd', b"1\tx\n"),
                1 => message::frame(b'c', b""),
                _ => message::frame(b'f', b"why not\0"),
            };
            acts.push(self.say(bytes));
        }
    }
}
