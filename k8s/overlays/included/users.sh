# Used by the other scripts: users and permissions of this server, from the present Secret. An old
# Secret has one password and no list.
secret=/etc/bailiff/redis/passwords
[ -e "$secret" ] || secret=/etc/bailiff/redis/password

each_password() { # without empty lines; the last one may lack its end
	while read -r password || [ -n "$password" ]; do
		[ -z "$password" ] || printf '%s\n' "$password"
	done <"$secret"
}

default_user() {
	printf 'default on resetpass ~* &* +@all'
	each_password | while read -r password; do printf ' ">%s"' "$password"; done
	printf '\n'
}
