//! Address and port variables.

/// What `$NAME` stands for in a rule's header.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    _addresses: Vec<(String, String)>,
    _ports: Vec<(String, String)>,
}

impl Variables {
    /// Sets the address list behind `$name`, e.g. `[10.0.0.0/8,!10.1.0.0/16]`.
    ///
    /// Errors: why `value` cannot be read.
    pub fn set_addresses(&mut self, name: &str, value: &str) -> Result<(), super::Reason> {
        self._addresses.push((name.into(), value.into()));
        Ok(())
    }

    /// Sets the port list behind `$name`, e.g. `[80,8080]`.
    pub fn set_ports(&mut self, name: &str, value: &str) -> Result<(), super::Reason> {
        self._ports.push((name.into(), value.into()));
        Ok(())
    }
}
