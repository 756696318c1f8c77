/** Who we are for a registry. */
export type Credential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A token that buys others: Docker's identity token. */
  | { readonly kind: 'refresh'; readonly token: string }
  /** The whole value of the Authorization header. */
  | { readonly kind: 'header'; readonly value: string }

/**
 * Answers who we are for a host (`HOST[:PORT]`, as it is asked over HTTP), given its WWW-Authenticate header;
 * undefined when it does not know, and then the next source is asked.
 */
export type CredentialSource = (host: string, challenge: string) => Promise<Credential | undefined>

export function basicAuth(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}
