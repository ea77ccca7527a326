"""People: users, sign-in sessions, mailbox verification, the profile."""
