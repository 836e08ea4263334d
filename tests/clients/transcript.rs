//! What a suite prints: a line `# scenario` ahead of what the scenario saw.

/// Scenarios by name, in order.
pub struct Transcript {
    pub scenarios: Vec<(String, Vec<String>)>,
}

impl Transcript {
    pub fn parse(printed: &str) -> Self {
        let mut scenarios: Vec<(String, Vec<String>)> = Vec::new();
        for line in printed.lines() {
            if let Some(name) = line.strip_prefix("# ") {
                scenarios.push((name.to_owned(), Vec::new()));
            } else if let Some((_, lines)) = scenarios.last_mut() {
                lines.push(line.to_owned());
            }
        }
        Self { scenarios }
    }

    /// Whether the scenario saw just this.
    pub fn agrees(&self, name: &str, expected: &[String]) -> Result<(), String> {
        match self.scenarios.iter().find(|(scenario, _)| scenario == name) {
            Some((_, seen)) => equal(expected, seen),
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
