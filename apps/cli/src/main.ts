import { type Client, createClient, RpcError, status } from '@flotilla/client'
import { type Command, text, UsageError, type Values } from './command.ts'
import { commands } from './commands/index.ts'
import { commandHelp, overview } from './help.ts'
import { parse } from './parse.ts'

process.exitCode = await main(process.argv.slice(2))

async function main(argv: readonly string[]): Promise<number> {
  // Who reads only the beginning of what we print has had enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
  const [first, second] = argv
  const command =
    commands.find(({ name }) => name === `${first} ${second}`) ?? commands.find(({ name }) => name === first)
  if (command === undefined) return withoutCommand(argv)
  const words = command.name.split(' ').length
  try {
    const { values, args } = parse(command, argv.slice(words))
    if (values.help) {
      process.stdout.write(commandHelp(command))
      return 0
    }
    return await carryOut(command, values, args)
  } catch (error) {
    process.stderr.write(`flotilla ${command.name}: ${messageOf(error)}\n`)
    if (error instanceof UsageError) process.stderr.write(`see flotilla ${command.name} --help\n`)
    return statusOf(error)
  }
}

function withoutCommand(argv: readonly string[]): number {
  const [first = '--help', second] = argv
  const group = commands.some(({ name }) => name.startsWith(`${first} `))
  const asked =
    ['-h', '--help', 'help'].includes(first) || (group && (second === undefined || ['-h', '--help'].includes(second)))
  if (asked) {
    const text = overview(
      commands.filter(({ name }) => !name.startsWith('__')),
      group ? first : '',
    )
    ;(argv.length === 0 ? process.stderr : process.stdout).write(text)
    return argv.length === 0 || (group && second === undefined) ? 2 : 0
  }
  process.stderr.write(`flotilla: no command "${group ? `${first} ${second}` : first}"\nsee flotilla --help\n`)
  return 2
}

async function carryOut(command: Command, values: Values, args: readonly string[]): Promise<number> {
  const interrupted = new AbortController()
  const interrupt = () => interrupted.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupt)
  let client: Client | undefined
  try {
    const code = await command.run({
      values,
      args,
      get client() {
        client ??= open(values)
        return client
      },
      json: values.output === 'json',
      signal: interrupted.signal,
    })
    return code ?? 0
  } catch (error) {
    // The reader has seen what it came for.
    if (interrupted.signal.aborted && error instanceof RpcError && error.code === status.CANCELLED) return 130
    throw error
  } finally {
    client?.close()
  }
}

function open(values: Values): Client {
  const { env } = process
  const [ca, cert, key] = [
    text(values, 'ca') ?? env.FLOTILLA_CA,
    text(values, 'cert') ?? env.FLOTILLA_CERT,
    text(values, 'key') ?? env.FLOTILLA_KEY,
  ]
  const address = text(values, 'address') ?? env.FLOTILLA_ADDRESS ?? '/run/flotilla/containerd.sock'
  const overNetwork = !address.startsWith('/') && !address.startsWith('unix:')
  if (overNetwork && !(ca && cert && key))
    throw new UsageError(`${address} is an endpoint: give --ca, --cert and --key (see flotilla pki client --help)`)
  return createClient({
    address,
    namespace: text(values, 'namespace') ?? env.FLOTILLA_NAMESPACE ?? 'default',
    serverName: text(values, 'server-name'),
    ...(overNetwork && ca && cert && key ? { tls: { caFile: ca, certFile: cert, keyFile: key } } : {}),
  })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function statusOf(error: unknown): number {
  if (error instanceof UsageError) return 2
  if (!(error instanceof RpcError)) return 1
  if (error.code === status.NOT_FOUND) return 3
  if (error.code === status.PERMISSION_DENIED || error.code === status.UNAUTHENTICATED) return 4
  if (error.code === status.UNAVAILABLE || error.code === status.DEADLINE_EXCEEDED) return 5
  return 1
}
