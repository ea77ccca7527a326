// The server shows times in the zone that this browser is in.
document.cookie = `zone=${Intl.DateTimeFormat().resolvedOptions().timeZone};path=/admin/;max-age=31536000;samesite=lax`;
