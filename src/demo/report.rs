//! What the demonstration prints. Pure: values in, text out.
//!
//! Each row change stands on the left, and next to it, on the right, the context that arrived with it.

use serde_json::{Map, Value as Json};

use super::changes::{Cell, Change, Column, Operation};
use super::script::{Statement, Step};

/// Where the row change ends and the context begins, in columns.
const LEFT: usize = 34;

/// What stands between key and value.
const GAP: usize = 2;

/// A value of a row longer than this is cut: it is there to be recognised.
const LONGEST_CELL: usize = 60;

/// A row of a table, its columns as text.
pub type Row = Vec<String>;

/// The columns of what `bemi track` stored: their names and widths.
const STORED: [(&str, usize); 5] = [
    ("key", 3),
    ("operation", 9),
    ("before", 19),
    ("after", 20),
    ("context", 19),
];

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Colours, for a terminal.
    pub color: bool,
    /// Columns of a line.
    pub width: usize,
}

#[derive(Clone, Copy)]
enum Paint {
    Plain,
    Bold,
    Faint,
    Green,
    Yellow,
    Red,
    Cyan,
}

impl Paint {
    /// "Select Graphic Rendition" of ECMA-48.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Faint => "2",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Cyan => "36",
        }
    }
}

/// A piece of a line; its width does not count the colour.
#[derive(Clone)]
struct Piece {
    text: String,
    paint: Paint,
}

type Line = Vec<Piece>;

fn piece(text: impl Into<String>, paint: Paint) -> Piece {
    Piece {
        text: text.into(),
        paint,
    }
}

impl Style {
    /// For the first lines: who talks to whom.
    #[must_use]
    pub fn route(&self, proxy: &str, tls: Option<&str>, server: &str) -> String {
        let leg = tls.map_or_else(|| " -> ".to_owned(), |tls| format!(" -> {tls} -> "));
        let line = vec![
            piece("  application -> ", Paint::Plain),
            piece(format!("bemi {proxy}"), Paint::Bold),
            piece(leg, Paint::Plain),
            piece(server, Paint::Bold),
        ];
        self.lines(&[line])
    }

    /// A step before it is taken: its sentence and its statements.
    #[must_use]
    pub fn step(&self, number: usize, step: &Step) -> String {
        let mut lines = vec![
            Vec::new(),
            vec![piece(format!("{number}. {}", step.title), Paint::Bold)],
            Vec::new(),
        ];
        for statement in step.statements {
            lines.extend(self.statement(statement));
        }
        self.lines(&lines)
    }

    fn statement(&self, statement: &Statement) -> Vec<Line> {
        let mut text = format!("{};", statement.sql);
        for (position, value) in statement.parameters.iter().enumerate() {
            text.push_str(&format!("  -- ${} = '{value}'", position + 1));
        }
        let wrapped = wrap(&text, self.width.saturating_sub(5));
        let indents = std::iter::once("   ").chain(std::iter::repeat("     "));
        indents
            .zip(wrapped)
            .map(|(indent, part)| vec![piece(format!("{indent}{part}"), Paint::Cyan)])
            .collect()
    }

    /// What arrived in the log.
    #[must_use]
    pub fn changes(&self, changes: &[Change]) -> String {
        let mut lines = vec![Vec::new()];
        if changes.is_empty() {
            lines.push(vec![piece("   in the write-ahead log: nothing", Paint::Faint)]);
            return self.lines(&lines);
        }
        lines.push(vec![
            piece(format!("{:LEFT$}", "   in the write-ahead log:"), Paint::Faint),
            piece("context:", Paint::Faint),
        ]);
        let mut previous: Option<&Change> = None;
        for change in changes {
            let is_alike = previous.is_some_and(|other| {
                other.transaction == change.transaction && other.context == change.context
            });
            let right = match &change.context {
                _same if is_alike && change.context.is_some() => vec![vec![piece("the same", Paint::Faint)]],
                None => vec![vec![piece("none", Paint::Red)]],
                Some(context) if context.is_empty() => vec![vec![piece("empty", Paint::Faint)]],
                Some(context) => self.context(context),
            };
            lines.extend(beside(row(change), right));
            previous = Some(change);
        }
        self.lines(&lines)
    }

    /// The last scene: what `bemi track` has stored meanwhile, and the query that asks for it.
    #[must_use]
    pub fn stored(&self, number: usize, query: &str, rows: &[Row]) -> String {
        let title = format!("{number}. Meanwhile, bemi track has stored all of it in a table.");
        let mut lines = vec![Vec::new(), vec![piece(title, Paint::Bold)], Vec::new()];
        lines.extend(
            format!("{query};")
                .lines()
                .map(|line| vec![piece(format!("   {line}"), Paint::Cyan)]),
        );
        lines.push(Vec::new());
        let header = STORED.map(|(name, width)| name.chars().take(width).collect());
        lines.extend(cells(&header, Paint::Faint));
        for row in rows {
            lines.extend(cells(row, Paint::Plain));
        }
        self.lines(&lines)
    }

    fn context(&self, context: &Map<String, Json>) -> Vec<Line> {
        let keys = context
            .keys()
            .map(|key| printable(key).chars().count())
            .max()
            .unwrap_or(0)
            + GAP;
        let room = self.width.saturating_sub(LEFT + keys).max(20);
        let mut lines = Vec::new();
        for (key, value) in context {
            let mut label = printable(key);
            for part in wrap(&printable(&value.to_string()), room) {
                lines.push(vec![
                    piece(format!("{label:keys$}"), Paint::Plain),
                    piece(part, Paint::Green),
                ]);
                label.clear();
            }
        }
        lines
    }

    fn lines(&self, lines: &[Line]) -> String {
        let mut out = String::new();
        for line in lines {
            let mut text = String::new();
            for piece in line {
                match piece.paint {
                    Paint::Plain => text.push_str(&piece.text),
                    _painted if !self.color => text.push_str(&piece.text),
                    paint => text.push_str(&format!(
                        "\x1b[{}m{}\x1b[{}m",
                        paint.code(),
                        piece.text,
                        Paint::Plain.code()
                    )),
                }
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
        out
    }
}

/// A row of a table: each cell broken into lines of its column's width.
fn cells(row: &[String], paint: Paint) -> Vec<Line> {
    let columns: Vec<(usize, Vec<String>)> = STORED
        .iter()
        .zip(row)
        .map(|((_, width), text)| (*width, wrap(&printable(text), *width)))
        .collect();
    let height = columns.iter().map(|(_, lines)| lines.len()).max().unwrap_or(0);
    (0..height)
        .map(|number| {
            let mut line = vec![piece("   ", Paint::Plain)];
            for (width, lines) in &columns {
                let text = lines.get(number).map_or("", String::as_str);
                line.push(piece(format!("{text:width$} "), paint));
            }
            line
        })
        .collect()
}

/// The left side: operation and table, then a line per column.
fn row(change: &Change) -> Vec<Line> {
    let (word, paint) = match change.operation {
        Operation::Insert => ("INSERT", Paint::Green),
        Operation::Update => ("UPDATE", Paint::Yellow),
        Operation::Delete => ("DELETE", Paint::Red),
        Operation::Truncate => ("TRUNCATE", Paint::Red),
    };
    let mut lines = vec![vec![
        piece("     ", Paint::Plain),
        piece(word, paint),
        piece(format!(" {}", printable(&change.table)), Paint::Plain),
    ]];
    let names = change
        .columns
        .iter()
        .map(|column| printable(&column.name).chars().count())
        .max()
        .unwrap_or(0)
        + GAP;
    for column in &change.columns {
        if let Some(value) = value(change.operation, column) {
            lines.push(vec![piece(
                format!("       {:names$}{value}", printable(&column.name)),
                Paint::Plain,
            )]);
        }
    }
    lines
}

/// `old -> new` where both are known and differ.
fn value(operation: Operation, column: &Column) -> Option<String> {
    let show = |cell: &Cell| match cell {
        Cell::Unknown => None,
        Cell::Null => Some("null".to_owned()),
        Cell::Text(text) => Some(cut(&printable(text))),
    };
    let (old, new) = (show(&column.old), show(&column.new));
    match (operation, old, new) {
        (Operation::Update, Some(old), Some(new)) if old != new => Some(format!("{old} -> {new}")),
        (_, old, new) => new.or(old),
    }
}

/// Puts two blocks side by side; a left line that is too long pushes the right one down.
fn beside(left: Vec<Line>, right: Vec<Line>) -> Vec<Line> {
    let mut right = right.into_iter();
    let mut lines = Vec::new();
    for mut line in left {
        let width: usize = line.iter().map(|piece| piece.text.chars().count()).sum();
        if width < LEFT
            && let Some(other) = right.next()
        {
            line.push(piece(" ".repeat(LEFT - width), Paint::Plain));
            line.extend(other);
        }
        lines.push(line);
    }
    for other in right {
        let mut line = vec![piece(" ".repeat(LEFT), Paint::Plain)];
        line.extend(other);
        lines.push(line);
    }
    lines
}

/// What a value may do to a terminal is left to nobody: control characters are shown, not sent.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for symbol in text.chars() {
        if symbol.is_control() {
            shown.extend(symbol.escape_default())
        } else {
            shown.push(symbol)
        }
    }
    shown
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST_CELL {
        return text.to_owned();
    }
    text.chars().take(LONGEST_CELL - 3).chain("...".chars()).collect()
}

/// Breaks a text into lines of at most `width` characters, after a space where there is one. Loses no character but
/// the spaces at the breaks.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width {
        let window = rest.get(..=width).unwrap_or(&rest);
        let at = window
            .iter()
            .rposition(|symbol| *symbol == ' ')
            .filter(|&at| at > 0)
            .unwrap_or(width);
        let tail = rest.split_off(at);
        lines.push(rest.into_iter().collect());
        rest = tail.into_iter().skip_while(|symbol| *symbol == ' ').collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Style, cut, printable, wrap};
    use crate::demo::changes::{Cell, Change, Column, Operation};
    use crate::demo::script::STEPS;

    const PLAIN: Style = Style {
        color: false,
        width: 80,
    };

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    fn column(name: &str, old: Cell, new: Cell) -> Column {
        Column {
            name: name.to_owned(),
            old,
            new,
        }
    }

    fn change(operation: Operation, columns: Vec<Column>, context: serde_json::Value) -> Change {
        Change {
            transaction: 1,
            operation,
            table: "todo".to_owned(),
            columns,
            context: context.as_object().cloned(),
        }
    }

    #[test]
    fn the_context_stands_next_to_its_row_change() {
        let context = json!({"user_id": 187234, "endpoint": "/todo", "SQL": "UPDATE todo SET task = 'Sleep in' WHERE id = 1"});
        let update = change(
            Operation::Update,
            vec![
                column("id", text("1"), text("1")),
                column("task", text("Sleep"), text("Sleep in")),
                column("note", Cell::Null, Cell::Null),
            ],
            context.clone(),
        );
        let delete = change(
            Operation::Delete,
            vec![column("id", text("1"), Cell::Unknown)],
            context,
        );
        assert_eq!(
            PLAIN.changes(&[update, delete]),
            "
   in the write-ahead log:        context:
     UPDATE todo                  user_id   187234
       id    1                    endpoint  \"/todo\"
       task  Sleep -> Sleep in    SQL       \"UPDATE todo SET task = 'Sleep in'
       note  null                           WHERE id = 1\"
     DELETE todo                  the same
       id  1
"
        );
    }

    #[test]
    fn a_missing_context_and_an_empty_log_are_said_plainly() {
        let insert = change(
            Operation::Insert,
            vec![column("id", Cell::Unknown, text("1"))],
            json!(null),
        );
        let shown = PLAIN.changes(&[insert.clone(), insert]);
        assert_eq!(
            shown.matches("INSERT todo                  none\n").count(),
            2,
            "{shown}"
        );
        assert_eq!(PLAIN.changes(&[]), "\n   in the write-ahead log: nothing\n");
    }

    #[test]
    fn no_line_of_the_demonstration_is_too_long() {
        for (number, step) in STEPS.iter().enumerate() {
            for line in PLAIN.step(number, step).lines() {
                assert!(line.chars().count() <= PLAIN.width, "{line}");
            }
        }
    }

    #[test]
    fn colours_are_for_terminals_and_do_not_move_anything() {
        let insert = change(
            Operation::Insert,
            vec![column("id", Cell::Unknown, text("1"))],
            json!({"a": 1}),
        );
        let colourful = Style { color: true, ..PLAIN }.changes(std::slice::from_ref(&insert));
        assert!(colourful.contains("\x1b[32mINSERT\x1b[0m"), "{colourful:?}");
        let mut stripped = String::new();
        for (position, part) in colourful.split('\x1b').enumerate() {
            stripped.push_str(if position == 0 {
                part
            } else {
                part.split_once('m').unwrap().1
            });
        }
        let trimmed: Vec<_> = stripped.lines().map(str::trim_end).collect();
        assert_eq!(trimmed, PLAIN.changes(&[insert]).lines().collect::<Vec<_>>());
    }

    #[test]
    fn a_value_cannot_reach_the_terminal_as_a_control_sequence() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}é"), "a\\u{1b}[2Jb\\nc\\u{9b}é");
        let insert = change(
            Operation::Insert,
            vec![column("a\x07", Cell::Unknown, text("\x1b"))],
            json!({"k\x07": "\u{9b}"}),
        );
        assert!(
            !PLAIN
                .changes(&[insert])
                .chars()
                .any(|symbol| symbol.is_control() && symbol != '\n')
        );
    }

    #[test]
    fn long_values_are_cut_and_long_texts_wrapped() {
        assert_eq!(cut(&"é".repeat(100)).chars().count(), 60);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap(" ab", 2), [" a", "b"]);
        assert_eq!(wrap("", 3), [""]);
    }
}
