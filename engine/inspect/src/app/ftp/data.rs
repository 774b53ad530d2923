//! FTP's data connections: one file each, the control connection said which.
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::app::{
    self, AppProto, Description, File, FileSettings, Head, Parser, Purpose, Stage, Store, Touched,
    Transactions,
};
use crate::event::text::Text;
use crate::Direction;

/// First byte of an agreement's note: a download.
pub(super) const RETR: u8 = 1;
/// An upload.
pub(super) const STOR: u8 = 2;

/// A transfer.
#[derive(Debug, Default)]
pub struct DataTransaction {
    head: Head,
    upload: bool,
    name: Vec<u8>,
    /// By direction: it is not known which end sends until it does.
    files: [Option<File>; 2],
}

/// A data connection.
#[derive(Debug)]
pub struct DataConnection {
    store: Store<DataTransaction>,
    settings: FileSettings,
}

impl DataConnection {
    /// The connection that an agreement's `note` announced.
    pub fn new(note: &[u8], settings: FileSettings) -> Self {
        let (command, name) = note.split_first().unwrap_or((&0, &[]));
        let mut transaction = DataTransaction {
            upload: *command == STOR,
            name: name.to_vec(),
            ..DataTransaction::default()
        };
        transaction.head.stages = [Stage::Body; 2];
        let mut store = Store::new(1);
        store.open(transaction);
        Self { store, settings }
    }

    fn change(&mut self, direction: Direction, make: impl FnOnce(&mut File)) -> Touched {
        let settings = self.settings;
        if let Some(transaction) = self.store.change_last() {
            let name = &transaction.name;
            let file = &mut transaction.files[direction as usize];
            make(file.get_or_insert_with(|| File::open(name, &settings)));
        }
        self.store.take_touched()
    }
}

impl DataTransaction {
    /// Whether the client sends the file.
    pub fn is_upload(&self) -> bool {
        self.upload
    }
}

impl Parser for DataConnection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        self.change(direction, |file| file.append(bytes))
    }

    fn gap(&mut self, direction: Direction, len: u64) -> Touched {
        self.change(direction, |file| file.gap(len))
    }

    fn close(&mut self, direction: Direction) -> Touched {
        if let Some(transaction) = self.store.change_last() {
            if let Some(file) = &mut transaction.files[direction as usize] {
                file.close();
            }
            transaction.head.stages[direction as usize] = Stage::Complete;
        }
        self.store.take_touched()
    }

    fn transactions(&self) -> &dyn Transactions {
        &self.store
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.store
    }

    fn heap_bytes(&self) -> usize {
        self.store.heap_bytes()
    }
}

impl app::Transaction for DataTransaction {
    fn head(&self) -> &Head {
        &self.head
    }
    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
    fn app(&self) -> AppProto {
        AppProto::FtpData
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn files(&self, direction: Direction) -> &[File] {
        self.files[direction as usize].as_slice()
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(("ftp_data", Box::new(Object(self))))
    }

    fn heap_bytes(&self) -> usize {
        let files = self.files.iter().flatten();
        self.name.capacity() + files.map(File::heap_bytes).sum::<usize>()
    }
}

/// EVE's `ftp_data` object.
struct Object<'a>(&'a DataTransaction);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.0.name.is_empty() {
            map.serialize_entry("filename", &Text(&self.0.name))?;
        }
        let command = if self.0.upload { "STOR" } else { "RETR" };
        map.serialize_entry("command", command)?;
        map.end()
    }
}
