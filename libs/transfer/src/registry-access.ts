import type { OCIRegistry } from '@flotilla/api/containerd/types/transfer/transfer'
import { AuthType, HTTPDebug } from '@flotilla/api/containerd/types/transfer/transfer'
import type { Credential, CredentialSource, Repository, Transcript } from '@flotilla/registry'
import { type Call, permissionDenied } from '@flotilla/rpc'
import { pack, unpackAny } from './any.ts'
import type { TransferDeps } from './deps.ts'
import { LogStream } from './log-stream.ts'
import type { OpenStream } from './open-stream.ts'
import { authRequest, authResponse } from './types.ts'

/** The repository that a transfer names, with the client's way to it and its credentials. To be disposed at its end. */
export function repositoryOf(
  deps: TransferDeps,
  { reference, resolver }: OCIRegistry,
  call: Call,
): Repository & AsyncDisposable {
  // Whoever calls over the network has no say about files here.
  if (resolver?.hostDir && call.metadata.has('flotilla-caller'))
    throw permissionDenied('a hosts directory is for callers on this machine')
  const stream = resolver?.authStream ? deps.streams.get(resolver.authStream, call) : undefined
  const logs = resolver?.logsStream ? deps.streams.get(resolver.logsStream, call) : undefined
  const repository = deps.registry.repository(reference, {
    headers: resolver?.headers ?? {},
    ...(stream === undefined ? {} : { credentials: askOver(stream, reference) }),
    ...(resolver?.hostDir ? { hostsDir: resolver.hostDir } : {}),
    ...(resolver?.defaultScheme ? { defaultScheme: resolver.defaultScheme } : {}),
    transcript: transcriptOf(resolver?.httpDebug, (text) => {
      if (log) log.write(text)
      else deps.logger.info({ reference }, text)
    }),
  })
  const log = logs && new LogStream(logs)
  return { ...repository, [Symbol.asyncDispose]: async () => log?.[Symbol.asyncDispose]() }
}

function transcriptOf(wanted: HTTPDebug | undefined, write: (text: string) => void): Transcript | undefined {
  const messages = wanted === HTTPDebug.DEBUG || wanted === HTTPDebug.BOTH
  const times = wanted === HTTPDebug.TRACE || wanted === HTTPDebug.BOTH
  return messages || times ? { messages, times, write } : undefined
}

/** Asks the client, one question at a time. */
function askOver(stream: OpenStream, reference: string): CredentialSource {
  let last: Promise<unknown> = Promise.resolve()
  const ask = async (host: string, challenge: string): Promise<Credential | undefined> => {
    await stream.send(pack(authRequest, { host, reference, wwwauthenticate: [challenge] }))
    const answer = await stream.receive()
    if (answer === undefined) return undefined
    const { authType, secret, username } = unpackAny(authResponse, answer)
    // Clients say so when they know nobody: theirs is a token for every other answer.
    if (secret === '' && username === '') return undefined
    switch (authType) {
      case AuthType.CREDENTIALS:
        return { kind: 'password', username, password: secret }
      case AuthType.REFRESH:
        return { kind: 'refresh', token: secret }
      case AuthType.HEADER:
        return { kind: 'header', value: secret }
      default:
        return undefined
    }
  }
  return (host, challenge) => {
    const asked = last.then(() => ask(host, challenge))
    last = asked.catch(() => {})
    return asked
  }
}
