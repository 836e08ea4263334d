//! What the user reads: one line per finding, and below it what to run.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Fine,
    /// Works, but is worth knowing.
    Note,
    /// Must be mended before the proxy, or what reads its messages, can do its job.
    Mend,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub mark: Mark,
    /// What was looked at: `wal_level`.
    pub subject: &'static str,
    /// What was found.
    pub what: String,
    /// What to run or set, a line each, so that it can be copied. Empty where nothing is to be done.
    pub remedy: Vec<String>,
}

impl Finding {
    /// As it should be.
    pub fn fine(subject: &'static str, what: impl Into<String>) -> Self {
        Self {
            mark: Mark::Fine,
            subject,
            what: what.into(),
            remedy: Vec::new(),
        }
    }

    /// Worth knowing.
    pub fn note(subject: &'static str, what: impl Into<String>) -> Self {
        Self {
            mark: Mark::Note,
            subject,
            what: what.into(),
            remedy: Vec::new(),
        }
    }

    /// To be mended.
    pub fn mend(subject: &'static str, what: impl Into<String>) -> Self {
        Self {
            mark: Mark::Mend,
            subject,
            what: what.into(),
            remedy: Vec::new(),
        }
    }

    /// Adds a line that mends it.
    #[must_use]
    pub fn by(mut self, remedy: impl Into<String>) -> Self {
        self.remedy.push(remedy.into());
        self
    }
}

/// Everything that was found, in the order it was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing must be mended.
    pub fn is_ready(&self) -> bool {
        self.to_mend() == 0
    }

    fn to_mend(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.mark == Mark::Mend)
            .count()
    }
}

impl Extend<Finding> for Report {
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, findings: T) {
        self.findings.extend(findings);
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Mend => "MEND",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<5} {}: {}", self.mark, self.subject, self.what)?;
        self.remedy
            .iter()
            .try_for_each(|line| write!(f, "\n        {line}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings
            .iter()
            .try_for_each(|finding| writeln!(f, "{finding}"))?;
        match self.to_mend() {
            0 => writeln!(f, "\nNothing to mend."),
            1 => writeln!(f, "\n1 thing to mend."),
            count => writeln!(f, "\n{count} things to mend."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_each_finding_with_what_mends_it() {
        let mut report = Report::default();
        report.extend([Finding::fine("server", "db:5432 answers")]);
        assert!(report.is_ready());
        report
            .extend([Finding::mend("wal_level", "is replica").by("ALTER SYSTEM SET wal_level = 'logical';")]);
        assert!(!report.is_ready());
        let expected = "ok    server: db:5432 answers\n\
                        MEND  wal_level: is replica\n        ALTER SYSTEM SET wal_level = 'logical';\n\
                        \n1 thing to mend.\n";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn a_note_is_nothing_to_mend() {
        let report = Report {
            findings: vec![Finding::note("pooler", "one is in between")],
        };
        assert!(report.is_ready());
        assert!(report.to_string().ends_with("Nothing to mend.\n"));
    }
}
