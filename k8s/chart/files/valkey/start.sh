# Adds the passwords of the Secret to the configuration without putting them on a command line.
# During a rotation there are two.
set -eu
umask 077
. /etc/valkey/users.sh
{
	cat /etc/valkey/valkey.conf
	printf 'user '
	default_user
} >/run/valkey/valkey.conf
exec valkey-server /run/valkey/valkey.conf
