import { unavailable, unknown } from '@flotilla/rpc'
import { readWhole, statusError } from './answer.ts'
import type { Challenge } from './challenge.ts'
import { basicAuth, type Credential } from './credential.ts'
import { isLoopback } from './reference.ts'
import type { HttpAnswer, Patience, TlsSettings, Transport } from './transport.ts'

/** A bearer token, and until when it is good, milliseconds of the epoch. */
export interface Token {
  readonly value: string
  readonly expires: number
}

export interface TokenOptions {
  readonly transport: Transport
  readonly patience: Patience
  readonly tls: TlsSettings | undefined
  readonly challenge: Challenge
  readonly credential: Exclude<Credential, { kind: 'header' }> | undefined
  readonly scopes: readonly string[]
  readonly signal: AbortSignal | undefined
}

/** Statuses of token servers that know only GET; each is some real server's. */
const getInstead: ReadonlySet<number> = new Set([400, 401, 404, 405])

/** Asks the token server that a challenge names for a token: by POST with a credential, by GET without or when refused. */
export async function fetchToken(options: TokenOptions): Promise<Token> {
  const { challenge, credential, scopes } = options
  const realm = realmOf(challenge, credential !== undefined)
  const service = challenge.parameters.service ?? ''
  const send = (method: string, url: URL, headers: Record<string, string>, form?: URLSearchParams) =>
    options.transport.send({
      method,
      url,
      headers: { 'user-agent': 'flotilla', accept: 'application/json', ...headers },
      ...(form === undefined ? {} : { body: once(Buffer.from(form.toString())) }),
      tls: options.tls,
      patience: { ...options.patience, commit: options.patience.answer },
      signal: options.signal,
    })

  if (credential !== undefined) {
    const form = new URLSearchParams({ client_id: 'flotilla', service, scope: scopes.join(' ') })
    if (credential.kind === 'refresh') {
      form.set('grant_type', 'refresh_token')
      form.set('refresh_token', credential.token)
    } else {
      form.set('grant_type', 'password')
      form.set('username', credential.username)
      form.set('password', credential.password)
    }
    const length = String(Buffer.byteLength(form.toString()))
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': length }
    const answer = await send('POST', realm, headers, form)
    if (answer.status === 200) return tokenOf(answer)
    if (credential.kind === 'refresh' || !getInstead.has(answer.status)) throw await statusError('POST', answer)
    answer.discard()
  }

  const url = new URL(realm)
  if (service !== '') url.searchParams.set('service', service)
  for (const scope of scopes) url.searchParams.append('scope', scope)
  const password = credential?.kind === 'password' ? credential : undefined
  const proof: Record<string, string> = {}
  if (password !== undefined) proof.authorization = basicAuth(password.username, password.password)
  const answer = await send('GET', url, proof)
  if (answer.status !== 200) throw await statusError('GET', answer)
  return tokenOf(answer)
}

function realmOf(challenge: Challenge, secret: boolean): URL {
  const text = challenge.parameters.realm ?? ''
  const realm = URL.canParse(text) ? new URL(text) : undefined
  if (realm?.protocol !== 'https:' && realm?.protocol !== 'http:')
    throw unknown(`the registry names no token server that can be asked: ${JSON.stringify(text)}`)
  if (secret && realm.protocol === 'http:' && !isLoopback(realm.host))
    throw unknown(`the registry wants credentials sent in plain to ${realm.host}`)
  return realm
}

async function tokenOf(answer: HttpAnswer): Promise<Token> {
  const body = await readWhole(answer, 1024 * 1024)
  let parsed: { token?: unknown; access_token?: unknown; expires_in?: unknown }
  try {
    parsed = JSON.parse(body.toString())
  } catch (cause) {
    throw unavailable(`the token server ${answer.url.host} does not answer JSON`, { cause })
  }
  const value = parsed?.access_token || parsed?.token
  if (typeof value !== 'string') throw unavailable(`the token server ${answer.url.host} gives no token`)
  // The specification's default, and never quite to the end.
  const seconds = typeof parsed.expires_in === 'number' && parsed.expires_in > 0 ? parsed.expires_in : 60
  return { value, expires: Date.now() + seconds * 900 }
}

async function* once(bytes: Uint8Array) {
  yield bytes
}
