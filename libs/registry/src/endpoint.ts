import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '@flotilla/log'
import { RpcError, unavailable } from '@flotilla/rpc'
import { statusError } from './answer.ts'
import { type Authorizer, Denied } from './authorizer.ts'
import type { RegistryHost } from './host.ts'
import { type HttpAnswer, isTimeout, type Patience, type Transport } from './transport.ts'

/** How a request is tried again. */
export interface RetryOptions {
  /** Requests in all. */
  readonly attempts: number
  /** Milliseconds before the second; doubled each time. */
  readonly delay: number
  /** The longest Retry-After that is waited for, milliseconds; a registry that wants more is an error. */
  readonly longest: number
}

export interface EndpointRequest {
  readonly method: string
  /** Below the repository, such as `manifests/latest`; or a whole URL that the host gave us. */
  readonly path: string | URL
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  /** Made anew for each attempt. */
  readonly body?: (() => AsyncIterable<Uint8Array>) | undefined
  /** Many bytes are expected. */
  readonly bulk?: boolean
  /** Access that is wanted, as in `repository:library/busybox:pull`. */
  readonly scopes: readonly string[]
  /** What is tried again here: every failure that may pass; when another host is there to be asked, only a wish to wait. */
  readonly retry: 'failures' | 'waits' | 'nothing'
  readonly signal?: AbortSignal | undefined
}

/** One host, asked for one repository: authorized, retried, followed when it redirects. */
export interface Endpoint {
  readonly host: RegistryHost
  /** Gives whatever it answers in the end; a network that fails in the end is UNAVAILABLE. */
  request(request: EndpointRequest): Promise<HttpAnswer>
}

export interface EndpointOptions {
  readonly host: RegistryHost
  readonly repository: string
  /** The registry that the repository belongs to: what `?ns=` tells a mirror. */
  readonly registry: string
  readonly headers: Readonly<Record<string, string>>
  readonly transport: Transport
  readonly authorizer: Authorizer
  readonly patience: Patience
  readonly retry: RetryOptions
  readonly logger: Logger | undefined
}

const mostRedirects = 10
const againLater: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504])
const waitAsked: ReadonlySet<number> = new Set([408, 429])
const transient: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN', 'ECONNABORTED'])

export function createEndpoint(options: EndpointOptions): Endpoint {
  const { host, registry, transport, authorizer, retry } = options
  const patience = { ...options.patience, dial: host.dialTimeout ?? options.patience.dial }
  let scheme: string = host.scheme
  const mirror = host.host !== registry && !(registry === 'docker.io' && host.host === 'registry-1.docker.io')

  function urlOf({ path, query = {} }: EndpointRequest): URL {
    const url =
      typeof path === 'string' ? new URL(`${scheme}://${host.host}${host.path}/${options.repository}/${path}`) : path
    const asked = new URL(url)
    for (const [name, value] of Object.entries(query)) asked.searchParams.append(name, value)
    if (mirror && typeof path === 'string') asked.searchParams.set('ns', registry)
    return asked
  }

  /** One exchange with the host, its redirects and its wish for a proof included. */
  async function converse(request: EndpointRequest): Promise<HttpAnswer> {
    let url = urlOf(request)
    const own = (target: URL) => target.host === host.host && target.protocol === `${scheme}:`
    let askedAgain = false
    for (let redirects = 0; ; ) {
      const proof = own(url) ? await authorizer.header(host, request.scopes, request.signal) : undefined
      // What we say of ourselves is for this host alone.
      const personal = own(url) ? { ...options.headers, ...host.headers } : {}
      const answer = await transport.send({
        method: request.method,
        url,
        headers: {
          'user-agent': 'flotilla',
          'accept-encoding': 'identity',
          ...personal,
          ...request.headers,
          ...(proof === undefined ? {} : { authorization: proof }),
        },
        ...(request.body === undefined ? {} : { body: request.body() }),
        bulk: request.bulk,
        tls: host.tls,
        patience,
        signal: request.signal,
      })
      const { location } = answer.headers
      if (isRedirect(answer.status) && location !== undefined) {
        answer.discard()
        redirects += 1
        if (redirects > mostRedirects) throw unavailable(`${host.host} redirects in circles`)
        url = redirected(url, location)
        continue
      }
      const wanted = answer.headers['www-authenticate']
      if (answer.status === 401 && wanted !== undefined && own(url)) {
        if (askedAgain) {
          const error = await statusError(request.method, answer)
          throw new Denied(error.message)
        }
        answer.discard()
        askedAgain = proof !== undefined
        await authorizer.refused(host, wanted, proof)
        continue
      }
      return answer
    }
  }

  async function withPlainFallback(request: EndpointRequest): Promise<HttpAnswer> {
    const tried = scheme
    try {
      return await converse(request)
    } catch (error) {
      // Requests that started together find it out together.
      if (!host.plainFallback || tried !== 'https' || !isNoTls(error)) throw error
      scheme = 'http'
      return converse(request)
    }
  }

  return {
    host,
    async request(request) {
      for (let attempt = 1; ; attempt++) {
        const last = attempt >= retry.attempts
        let wait = retry.delay * 2 ** (attempt - 1) * (0.75 + Math.random() / 2)
        let why: unknown
        try {
          const answer = await withPlainFallback(request)
          const again = request.retry === 'failures' ? againLater : waitAsked
          if (last || request.retry === 'nothing' || !again.has(answer.status)) return answer
          const asked = retryAfter(answer.headers['retry-after'])
          if (asked !== undefined && asked > retry.longest) return answer
          wait = Math.max(wait, asked ?? 0)
          why = answer.status
          answer.discard()
        } catch (error) {
          if (request.signal?.aborted) throw request.signal.reason
          if (error instanceof RpcError && !isTimeout(error)) throw error
          if (last || request.retry !== 'failures' || !isTransient(error)) throw networkError(request, host, error)
          why = error
        }
        options.logger?.debug({ host: host.host, path: String(request.path), attempt, why, wait }, 'trying again')
        await sleep(wait, undefined, request.signal ? { signal: request.signal } : {})
      }
    },
  }
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308
}

function redirected(from: URL, location: string): URL {
  const to = URL.canParse(location, from) ? new URL(location, from) : undefined
  if (to?.protocol !== 'https:' && to?.protocol !== 'http:')
    throw unavailable(`${from.host} redirects to what is no address: ${JSON.stringify(location)}`)
  return to
}

/** Whether what we reached answered, but not in TLS. */
function isNoTls(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'EPROTO' || (typeof code === 'string' && /^ERR_SSL_(?:WRONG_VERSION|PACKET_LENGTH)/.test(code))
}

/** Whether an error of the network may be gone the next time; a host that is not there or not trusted stays so. */
export function isTransient(error: unknown): boolean {
  if (isTimeout(error)) return true
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' && (transient.has(code) || code.startsWith('HPE_'))
}

function networkError(request: EndpointRequest, host: RegistryHost, error: unknown): Error {
  if (error instanceof RpcError) return error
  const text = error instanceof Error ? error.message : String(error)
  return unavailable(`failed to do request: ${request.method} to ${host.host}: ${text}`, { cause: error })
}

/** Retry-After in milliseconds: seconds, or a date. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  if (/^\d+$/.test(header)) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now())
}
