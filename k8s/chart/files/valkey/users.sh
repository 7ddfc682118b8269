# Sourced by the other scripts. Renders the users and permissions of this server from the current
# Secret. A Secret of an older version has one password and no list.
secret=/etc/bailiff/redis/passwords
[ -e "$secret" ] || secret=/etc/bailiff/redis/password

each_password() { # skips empty lines; the last line may lack its newline
	while read -r password || [ -n "$password" ]; do
		[ -z "$password" ] || printf '%s\n' "$password"
	done <"$secret"
}

default_user() {
	printf 'default on resetpass ~* &* +@all'
	each_password | while read -r password; do printf ' ">%s"' "$password"; done
	printf '\n'
}
