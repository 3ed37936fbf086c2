#!/bin/sh
# The page: which machine answered, and the greeting of the ConfigMap (a mounted file, else $GREETING).
greeting=${GREETING:-Hello}
if [ -r /etc/hello/greeting ]; then
    read -r greeting </etc/hello/greeting
fi
name=$(hostname)
echo "GET / from ${REMOTE_ADDR:-?}" >&2
printf 'Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\r\n'
printf '<!doctype html>\n<title>hello</title>\n<h1>%s</h1>\n<p>from %s</p>\n' \
    "$(printf '%s' "$greeting" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g')" "$name"
