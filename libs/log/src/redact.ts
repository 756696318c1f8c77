/**
 * A text without the passwords of the addresses in it: `redis://user:secret@host` becomes `redis://user:***@host`, and
 * so do `password=`, `token=` and `secret=` in query strings.
 */
export function redact(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/)([^\s/?#@]*:)?[^\s/?#]*@/gi, (_, scheme: string, user: string | undefined) =>
      user === undefined ? `${scheme}***@` : `${scheme}${user.slice(0, user.indexOf(':'))}:***@`,
    )
    .replace(/([?&;](?:password|passwd|token|access_token|refresh_token|secret)=)[^\s&;#]*/gi, '$1***')
}
