"""What can go wrong with accounts, sign-in and tokens."""

from __future__ import annotations

from core.errors import Error


class EmailTaken(Error):
    code = "email_taken"
    status = 409
    message = "There is an account with this e-mail address; sign in instead."


class UsernameTaken(Error):
    code = "username_taken"
    status = 409
    message = "This username is taken."


class InvalidCredentials(Error):
    code = "invalid_credentials"
    status = 401
    message = "The e-mail address or the password is wrong."


class PasswordWrong(Error):
    code = "password_wrong"
    status = 400
    message = "This is not your current password; nothing was changed."


class StaffAccount(Error):
    code = "staff_account"
    status = 409
    message = "This is a staff account; a colleague has to end that standing before it can be deleted."


class ReauthenticationRequired(Error):
    code = "reauthentication_required"
    status = 403
    message = "Sign in again first: this is possible only within ten minutes of signing in."


class OtpRequired(Error):
    code = "otp_required"
    status = 401
    message = "Send `otp`: the code of your authenticator app, or a recovery code."


class OtpInvalid(Error):
    code = "otp_invalid"
    status = 401
    message = "This code is wrong, has run out or was used before."


class AccountSuspended(Error):
    code = "account_suspended"
    status = 403
    message = "This account is suspended; write to support."


class TokenInvalid(Error):
    code = "token_invalid"
    status = 401
    message = "The token is not one of ours, or not of this kind."


class TokenExpired(Error):
    code = "token_expired"
    status = 401
    message = "The token has run out; refresh it or sign in again."


class SessionEnded(Error):
    code = "session_ended"
    status = 401
    message = "This session has ended; sign in again."


class RefreshReused(Error):
    code = "refresh_reused"
    status = 401
    message = "This refresh token was used before, so the whole session is ended; sign in again."


class VerificationInvalid(Error):
    code = "verification_invalid"
    status = 400
    message = "This link is not valid, or was used already."


class VerificationExpired(Error):
    code = "verification_expired"
    status = 400
    message = "This link has run out; ask for a new one."
