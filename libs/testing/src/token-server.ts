import { randomUUID, sign, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Certificate } from './certificate.ts'

export interface TokenServerOptions {
  readonly certificate: Certificate
  readonly service: string
  readonly username: string
  readonly password: string
  /** Taken in place of user and password, by POST. */
  readonly refreshToken: string
  /** Answers 404 to POST, as some token servers do. */
  readonly onlyGet?: boolean | undefined
}

/** What a client asked of the token server. */
export interface TokenRequest {
  readonly method: string
  readonly scopes: readonly string[]
  readonly service: string | undefined
  /** The user name that was proven; undefined for an anonymous request. */
  readonly username: string | undefined
}

/** Hands out bearer tokens as the distribution token specification has it, by GET and by POST of a form. */
export interface TokenServer extends AsyncDisposable {
  readonly realm: string
  readonly requests: readonly TokenRequest[]
  /** A token for these scopes, without asking over HTTP. */
  mint(...scopes: string[]): string
}

const issuer = 'flotilla-testing'

function jwt(certificate: Certificate, service: string, scopes: readonly string[]): string {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const der = new X509Certificate(certificate.cert).raw.toString('base64')
  const now = Math.floor(Date.now() / 1000)
  const access = scopes.map((scope) => {
    const [type, ...rest] = scope.split(':')
    const actions = rest.pop()?.split(',') ?? []
    return { type, name: rest.join(':'), actions }
  })
  const claims = {
    iss: issuer,
    aud: service,
    nbf: now - 10,
    iat: now,
    exp: now + 600,
    jti: randomUUID(),
    sub: '',
    access,
  }
  const signed = `${encode({ typ: 'JWT', alg: 'ES256', x5c: [der] })}.${encode(claims)}`
  const signature = sign('sha256', Buffer.from(signed), { key: certificate.key, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${signature.toString('base64url')}`
}

async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  let text = ''
  for await (const piece of request) text += String(piece)
  return new URLSearchParams(text)
}

/** Starts a token server on a loopback port, in this process. Only the right user gets what they ask for. */
export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const requests: TokenRequest[] = []
  const mint = (...scopes: string[]) => jwt(options.certificate, options.service, scopes)

  async function answer(request: IncomingMessage): Promise<{ status: number; body: unknown }> {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const form = request.method === 'POST' ? await formOf(request) : url.searchParams
    const basic = Buffer.from(request.headers.authorization?.replace(/^Basic /i, '') ?? '', 'base64').toString()
    const [username, password] =
      request.method === 'POST' ? [form.get('username') ?? '', form.get('password') ?? ''] : basic.split(':')
    const refreshes = form.get('grant_type') === 'refresh_token' && form.get('refresh_token') === options.refreshToken
    const known = refreshes || (username === options.username && password === options.password)
    const scopes = form.getAll('scope').flatMap((scope) => scope.split(' '))
    const service = form.get('service') ?? undefined
    const proven = refreshes ? options.username : username
    requests.push({ method: request.method ?? '', scopes, service, username: known ? proven : undefined })
    if (request.method === 'POST' && options.onlyGet) return { status: 404, body: {} }
    if (!known) return { status: 401, body: { errors: [{ code: 'UNAUTHORIZED', message: 'wrong user or password' }] } }
    const token = mint(...scopes)
    return { status: 200, body: { token, access_token: token, expires_in: 600, issued_at: new Date().toISOString() } }
  }

  const server = createServer((request, response) => {
    answer(request).then(
      ({ status, body }) =>
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
      () => response.writeHead(500).end(),
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    requests,
    mint,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The issuer that a registry must trust. */
export const tokenIssuer = issuer
