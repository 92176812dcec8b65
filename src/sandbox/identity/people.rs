//! The people of the sandbox's directory.

use serde_json::{Value, json};

/// One person of the directory.
pub(super) struct Person {
    /// What `login_hint` names.
    pub(super) login: &'static str,
    pub(super) name: &'static str,
    pub(super) role: &'static str,
    pub(super) groups: &'static [&'static str],
}

/// Three people who may approve, one who may not, so that a demo can show the refusal, and an auditor.
pub(super) const PEOPLE: [Person; 5] = [
    Person {
        login: "alice",
        name: "Alice Adler",
        role: "Release manager",
        groups: &["release-managers", "engineering"],
    },
    Person {
        login: "bob",
        name: "Bob Brandt",
        role: "Release manager",
        groups: &["release-managers"],
    },
    Person {
        login: "carol",
        name: "Carol Chen",
        role: "Security",
        groups: &["security", "release-managers"],
    },
    Person { login: "dan", name: "Dan Dietz", role: "Engineer", groups: &["engineering"] },
    Person { login: "erin", name: "Erin Ekström", role: "Auditor", groups: &["auditors"] },
];

impl Person {
    pub(super) fn by_login(login: &str) -> Option<&'static Self> {
        PEOPLE.iter().find(|person| person.login == login)
    }

    pub(super) fn subject(&self) -> String {
        format!("u-{}", self.login)
    }

    /// The claims about the person that ID token and userinfo share.
    pub(super) fn claims(&self) -> Value {
        json!({
            "sub": self.subject(),
            "name": self.name,
            "preferred_username": self.login,
            "email": format!("{}@demo.example", self.login),
            "email_verified": true,
            "groups": self.groups,
            "github_id": self.github_id(),
        })
    }

    /// The number of their account at GitHub: 4101 for the first, and so on.
    fn github_id(&self) -> usize {
        4101 + PEOPLE.iter().position(|person| person.login == self.login).unwrap_or_default()
    }
}
