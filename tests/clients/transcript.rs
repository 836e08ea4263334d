//! What a suite prints.
//!
//! ```text
//! ! psycopg 3.3.9                           the driver, with its version
//! - copy: the driver has no COPY            a feature that it lacks, and why
//! # transaction: savepoints are kept        a scenario of a feature
//! # many tasks at once                      one of none
//! ```
//!
//! The first two kinds stand ahead of all scenarios. What else it prints belongs to the scenario above.

use super::feature::{FEATURES, is_feature};

/// All that one run printed.
#[derive(Default)]
pub struct Transcript {
    /// The driver and its version.
    pub driver: Option<String>,
    /// Features that the driver does not have, and why.
    pub lacks: Vec<(String, String)>,
    /// In order.
    pub scenarios: Vec<Scenario>,
}

/// One scenario, and what it saw.
pub struct Scenario {
    /// Its whole heading.
    pub name: String,
    pub lines: Vec<String>,
}

impl Scenario {
    /// The feature that it shows, if its heading names one.
    pub fn feature(&self) -> Option<&str> {
        let (feature, _) = self.name.split_once(": ")?;
        let is_word = !feature.is_empty() && feature.chars().all(|letter| letter.is_ascii_lowercase());
        is_word.then_some(feature)
    }
}

impl Transcript {
    pub fn parse(printed: &str) -> Self {
        let mut transcript = Self::default();
        for line in printed.lines() {
            if let Some(name) = line.strip_prefix("# ") {
                transcript.scenarios.push(Scenario {
                    name: name.to_owned(),
                    lines: Vec::new(),
                });
            } else if let Some(scenario) = transcript.scenarios.last_mut() {
                scenario.lines.push(line.to_owned());
            } else if let Some(driver) = line.strip_prefix("! ") {
                transcript.driver = Some(driver.to_owned());
            } else if let Some((feature, why)) =
                line.strip_prefix("- ").and_then(|rest| rest.split_once(": "))
            {
                transcript.lacks.push((feature.to_owned(), why.to_owned()));
            }
        }
        transcript
    }

    /// Why the driver lacks a feature, if it does.
    pub fn lacks(&self, feature: &str) -> Option<&str> {
        let found = self.lacks.iter().find(|(name, _)| name == feature);
        found.map(|(_, why)| why.as_str())
    }

    pub fn shows(&self, feature: &str) -> bool {
        let mut features = self.scenarios.iter().filter_map(Scenario::feature);
        features.any(|name| name == feature)
    }

    /// Whether it names its driver, and shows each feature or says why not.
    pub fn is_complete(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        if self.driver.is_none() {
            wrong.push("    it does not say which driver it is".to_owned());
        }
        let shown = self.scenarios.iter().filter_map(Scenario::feature);
        let named = shown.chain(self.lacks.iter().map(|(name, _)| name.as_str()));
        wrong.extend(
            named
                .filter(|name| !is_feature(name))
                .map(|name| format!("    there is no feature {name}")),
        );
        for feature in FEATURES {
            match (self.shows(feature.name), self.lacks(feature.name)) {
                (false, None) => wrong.push(format!("    it neither shows nor lacks {}", feature.name)),
                (true, Some(_)) => wrong.push(format!("    it both shows and lacks {}", feature.name)),
                (true, None) | (false, Some(_)) => {}
            }
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
    }

    /// Whether the scenario saw just this.
    pub fn agrees(&self, expected: &Scenario) -> Result<(), String> {
        match self
            .scenarios
            .iter()
            .find(|scenario| scenario.name == expected.name)
        {
            Some(seen) => equal(&expected.lines, &seen.lines),
            None => Err("    it did not run".to_owned()),
        }
    }
}

/// Where two lists of lines part.
pub fn equal(direct: &[String], proxied: &[String]) -> Result<(), String> {
    let longest = direct.len().max(proxied.len());
    match (0..longest).find(|&at| direct.get(at) != proxied.get(at)) {
        None => Ok(()),
        Some(at) => {
            let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "(nothing)".to_owned());
            Err(format!(
                "    line {at}\n    direct:  {}\n    proxied: {}",
                line(direct),
                line(proxied)
            ))
        }
    }
}
