//! A gate with its sandbox over real HTTP, spoken to in the words of the domain.

pub mod gate;
pub mod postgres;
