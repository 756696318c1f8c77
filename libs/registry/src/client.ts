import type { Logger } from '@flotilla/log'
import { createSlots } from '@flotilla/turns'
import { createAuthorizer } from './authorizer.ts'
import type { CredentialSource } from './credential.ts'
import { createEndpoint, type RetryOptions } from './endpoint.ts'
import { headersOf } from './headers.ts'
import { hostsFor } from './hosts.ts'
import { parseReference } from './reference.ts'
import { createRepository, type Repository } from './repository.ts'
import { type Transcript, transcribed } from './transcript.ts'
import { createTransport, type Patience } from './transport.ts'

/** Where and how registries are reached; directories, credentials and the bound are read anew for each repository. */
export interface RegistryClientOptions {
  /** Directories of per-host configuration (hosts.toml), separated by `:`; none unless given. */
  readonly hostsDir?: string | undefined
  /** Asked for credentials, in order, after the caller's own. */
  readonly credentials?: readonly CredentialSource[]
  /** How many blob downloads go on at once, over all repositories. */
  readonly maxDownloads: number
  readonly logger?: Logger
  /** HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
  readonly proxyEnv?: Readonly<Record<string, string | undefined>>
  readonly patience?: Partial<Patience>
  readonly retry?: Partial<RetryOptions>
}

export interface RepositoryOptions {
  /** Sent with every request to the registry's own hosts, not where they redirect to. */
  readonly headers?: Readonly<Record<string, string>>
  /** Asked for credentials before the client's sources. */
  readonly credentials?: CredentialSource
  /** In place of the client's. */
  readonly hostsDir?: string | undefined
  /** `http` or `https`, for a registry for which nothing is configured. */
  readonly defaultScheme?: string | undefined
  /** Reads along. */
  readonly transcript?: Transcript | undefined
}

/** The way to registries. Repositories of one client share connections and the bound on downloads. */
export interface RegistryClient extends AsyncDisposable {
  /**
   * The repository of a reference, for one caller.
   *
   * @throws INVALID_ARGUMENT when the reference is none, or a header
   */
  repository(reference: string, options?: RepositoryOptions): Repository
}

export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const shared = createTransport(options.proxyEnv)
  const slots = createSlots(() => options.maxDownloads)
  const patience: Patience = { dial: 30_000, answer: 60_000, commit: 300_000, stall: 60_000, ...options.patience }
  const retry: RetryOptions = { attempts: 5, delay: 200, longest: 60_000, ...options.retry }

  return {
    repository(text, { headers: given = {}, credentials, hostsDir, defaultScheme, transcript } = {}) {
      const reference = parseReference(text)
      const headers = headersOf(given)
      const sources = [...(credentials ? [credentials] : []), ...(options.credentials ?? [])]
      const heard = (bodies: boolean) => (transcript ? transcribed(shared, transcript, bodies) : shared)
      const authorizer = createAuthorizer({ transport: heard(false), patience, sources })
      const transport = heard(true)
      const connect = async () => {
        const hosts = await hostsFor(reference.host, { hostsDir: hostsDir || options.hostsDir, defaultScheme })
        const { host: registry, repository } = reference
        const logger = options.logger
        return hosts.map((host) =>
          createEndpoint({ host, repository, registry, headers, transport, authorizer, patience, retry, logger }),
        )
      }
      let connected: ReturnType<typeof connect> | undefined
      return createRepository({
        reference,
        slots,
        retry,
        endpoints() {
          connected ??= connect()
          return connected
        },
      })
    },
    async [Symbol.asyncDispose]() {
      shared[Symbol.dispose]()
    },
  }
}
