# Adds the passwords to the configuration without putting them on a command line: all of the Secret, of which a rotation has two.
set -eu
umask 077
. /etc/valkey/users.sh
{
	cat /etc/valkey/valkey.conf
	printf 'user '
	default_user
} >/run/valkey/valkey.conf
exec valkey-server /run/valkey/valkey.conf
