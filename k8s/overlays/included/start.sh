# Adds the password to the configuration without putting it on a command line. The newest stands first.
set -eu
umask 077
{
	cat /etc/valkey/valkey.conf
	printf 'requirepass "%s"\n' "$(head -n 1 /etc/bailiff/redis/password)"
} >/run/valkey/valkey.conf
exec valkey-server /run/valkey/valkey.conf
