import { RpcError, status, unknown } from '@flotilla/rpc'
import { type Challenge, parseChallenges } from './challenge.ts'
import { basicAuth, type Credential, type CredentialSource } from './credential.ts'
import type { RegistryHost } from './host.ts'
import { fetchToken, type Token } from './token.ts'
import type { Patience, Transport } from './transport.ts'

/** Proves who we are to the hosts of one repository. What it learnt stays with it: another caller may be another. */
export interface Authorizer {
  /** The Authorization header for a request, as far as the host has asked for one; undefined before it has. */
  header(host: RegistryHost, scopes: readonly string[], signal?: AbortSignal): Promise<string | undefined>
  /**
   * Takes a 401 in: after it, {@link header} gives another proof than `refused`.
   *
   * @throws UNKNOWN when there is no other, as containerd answers
   */
  refused(host: RegistryHost, wwwAuthenticate: string, refused: string | undefined): Promise<void>
}

export interface AuthorizerOptions {
  readonly transport: Transport
  readonly patience: Patience
  /** Asked in order, once for each host. */
  readonly sources: readonly CredentialSource[]
}

/** What is known of a host that asked for a proof. */
interface Known {
  readonly challenge: Challenge
  readonly credential: Credential | undefined
  /** By scopes; shared by requests that want the same at the same time. */
  readonly tokens: Map<string, Promise<Token>>
}

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const hosts = new Map<string, Promise<Known>>()

  async function meet(host: RegistryHost, wwwAuthenticate: string): Promise<Known> {
    const challenges = parseChallenges(wwwAuthenticate)
    const challenge = challenges.find(({ scheme }) => scheme === 'bearer' || scheme === 'basic')
    if (challenge === undefined)
      throw unknown(`${host.host} asks for a proof that we cannot give: ${JSON.stringify(wwwAuthenticate)}`)
    const credential = await ask(host.host, wwwAuthenticate)
    if (challenge.scheme === 'basic' && credential === undefined) throw new Denied('no basic auth credentials')
    if (challenge.scheme === 'basic' && credential?.kind === 'refresh')
      throw new Denied(`${host.host} wants a user and password, not a token`)
    return { challenge, credential, tokens: new Map() }
  }

  async function ask(host: string, wwwAuthenticate: string): Promise<Credential | undefined> {
    for (const source of options.sources) {
      const credential = await source(host, wwwAuthenticate)
      if (credential !== undefined) return credential
    }
    return undefined
  }

  function token(host: RegistryHost, known: Known, wanted: readonly string[], signal?: AbortSignal): Promise<Token> {
    const { challenge, credential } = known
    // The challenge's own scope is for the request that met it; it counts only when the request names none.
    const asked = wanted.length > 0 ? wanted : (challenge.parameters.scope ?? '').split(' ').filter(Boolean)
    const scopes = [...new Set(asked)].sort()
    const key = scopes.join(' ')
    const fetchNew = () => {
      const proof = credential?.kind === 'header' ? undefined : credential
      const { transport, patience } = options
      const promise = fetchToken({ transport, patience, tls: host.tls, challenge, credential: proof, scopes, signal })
      known.tokens.set(key, promise)
      promise.catch(() => known.tokens.delete(key))
      return promise
    }
    const cached = known.tokens.get(key)
    if (cached === undefined) return fetchNew()
    return cached.then(
      (one) => (one.expires > Date.now() ? one : fetchNew()),
      // Whoever asked for it may have gone away; we have not.
      (error) => (signal?.aborted ? Promise.reject(error) : fetchNew()),
    )
  }

  return {
    async header(host, scopes, signal) {
      const known = await hosts.get(host.host)
      if (known === undefined) return undefined
      const { challenge, credential } = known
      if (credential?.kind === 'header') return credential.value
      if (challenge.scheme === 'bearer') return `Bearer ${(await token(host, known, scopes, signal)).value}`
      return credential?.kind === 'password' ? basicAuth(credential.username, credential.password) : undefined
    },
    async refused(host, wwwAuthenticate, refused) {
      const known = hosts.get(host.host)
      if (known === undefined) {
        const meeting = meet(host, wwwAuthenticate)
        hosts.set(host.host, meeting)
        meeting.catch(() => hosts.delete(host.host))
        await meeting
        return
      }
      const { challenge, credential, tokens } = await known
      if (refused === undefined) return
      // Only a token can be had anew.
      if (challenge.scheme !== 'bearer' || credential?.kind === 'header')
        throw new Denied(`${host.host} refuses our credentials`)
      for (const [key, promise] of tokens)
        if (`Bearer ${(await promise.catch(() => undefined))?.value}` === refused) tokens.delete(key)
    },
  }
}

/** An authorization that failed, in containerd's words and with its code, UNKNOWN. */
export class Denied extends RpcError {
  constructor(why: string) {
    super(status.UNKNOWN, `authorization failed: ${why}`)
  }
}
