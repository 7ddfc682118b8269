# Reloads the passwords of the Secret in the running server. Open connections stay.
set -eu
. /etc/valkey/users.sh
# Logs in with one password. Passwords reach valkey-cli by environment and stdin, not by arguments.
take() {
	{
		printf 'ACL SETUSER '
		default_user
	} | REDISCLI_AUTH="$1" valkey-cli 2>&1 | grep -qx OK
}
passwords=$(each_password)
for password in $passwords; do
	if take "$password"; then
		echo "the server accepts $(each_password | wc -l) password(s)"
		exit 0
	fi
done
echo 'the server accepts no password of the Secret; complete the previous step of the rotation first' >&2
exit 1
