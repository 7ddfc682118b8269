# Reloads the passwords of the Secret in the running server. Open connections stay.
set -eu
. /etc/valkey/users.sh
take() { # shows a password; nothing secret is on a command line
	{
		printf 'ACL SETUSER '
		default_user
	} | REDISCLI_AUTH="$1" valkey-cli 2>&1 | grep -qx OK
}
passwords=$(each_password)
for password in $passwords; do
	if take "$password"; then
		echo "the server takes $(each_password | wc -l) password(s)"
		exit 0
	fi
done
echo 'the server takes no password of the Secret: is the step before this one done?' >&2
exit 1
