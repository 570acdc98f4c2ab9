//! The open memory file. Every change is an immediate transaction: it takes the write lock first, then reads and
//! updates what another process may have written.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::error::StoreError;
use super::open;
use super::table::{NameFilter, Table, TableSpec, Tables};

pub(super) struct Store(Connection);

impl Store {
    /// Opens the file, or creates it if it is missing. Moves a corrupt file aside and returns its new path as
    /// the second value.
    pub(super) fn open(path: &Path, tables: &Tables) -> Result<(Self, Option<PathBuf>), StoreError> {
        let specs: Vec<&TableSpec> = tables.iter().map(Table::spec).collect();
        let (connection, aside) = open::open(path, &specs)?;
        Ok((Self(connection), aside))
    }

    /// The connection, to read from.
    pub(super) const fn connection(&self) -> &Connection {
        &self.0
    }

    /// Writes the pending changes of all tables.
    pub(super) fn write(&mut self, tables: &mut Tables, now: i64) -> Result<(), StoreError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for table in tables.iter_mut() {
            table.write(&transaction)?;
            prune(&transaction, table.spec(), now)?;
        }
        transaction.commit()?;
        tables.iter_mut().for_each(Table::committed);
        Ok(())
    }

    /// Imports the rows that the tables have read, all or none. Returns how many were stored.
    pub(super) fn import(&mut self, tables: &mut Tables, now: i64) -> Result<usize, StoreError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut stored = 0;
        for table in tables.iter_mut() {
            stored += table.import(&transaction)?;
            prune(&transaction, table.spec(), now)?;
        }
        transaction.commit()?;
        Ok(stored)
    }

    /// Deletes the rows whose site or host `matches`. Returns the number of deleted rows.
    pub(super) fn clear(&mut self, tables: &Tables, matches: NameFilter<'_>) -> Result<usize, StoreError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut deleted = 0;
        for TableSpec { name: table, name_column: column, .. } in tables.iter().map(Table::spec) {
            let names = {
                let mut query = transaction.prepare(&format!("SELECT DISTINCT {column} FROM {table}"))?;
                let names = query.query_map([], |row| row.get::<_, String>(0))?;
                names.collect::<Result<Vec<_>, _>>()?
            };
            for name in names.iter().filter(|name| matches(name)) {
                deleted +=
                    transaction.execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [name])?;
            }
        }
        transaction.commit()?;
        Ok(deleted)
    }

    /// Truncates the journal, so that it does not contain deleted rows.
    pub(super) fn truncate_journal(&self) -> Result<(), StoreError> {
        Ok(self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

/// Deletes expired rows, then the oldest rows above the limit.
fn prune(transaction: &Transaction<'_>, spec: &TableSpec, now: i64) -> Result<(), StoreError> {
    let TableSpec { name, primary_key, time_column, expiry: (column, age), max_rows, .. } = spec;
    transaction.execute(&format!("DELETE FROM {name} WHERE {column} <= ?1"), [now.saturating_sub(*age)])?;
    let rows: i64 = transaction.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0))?;
    if rows > *max_rows {
        let oldest = format!("SELECT {primary_key} FROM {name} ORDER BY {time_column} LIMIT ?1");
        transaction.execute(
            &format!("DELETE FROM {name} WHERE ({primary_key}) IN ({oldest})"),
            [rows - max_rows * 9 / 10],
        )?;
    }
    Ok(())
}
