import { dumpCommandLine, parts, runApp } from '@flotilla/compose'
import { defaultFile, loadConfig } from '@flotilla/config'
import { publish } from './publish.ts'

const argv = process.argv.slice(2)

if (argv.includes('publish')) {
  try {
    await publish(
      argv.filter((arg) => arg !== 'publish'),
      loadConfig().address,
    )
  } catch (error) {
    process.stderr.write(`flotilla publish: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
} else if (argv[0] === 'config') {
  try {
    process.stdout.write(configText(argv[1], argv.slice(2)))
  } catch (error) {
    process.stderr.write(`flotilla config: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
} else {
  await runApp({
    name: 'standalone',
    about: 'the whole containerd API on one socket, with its own metadata store and message bus',
    parts,
    embedsStores: true,
    isGateway: true,
  })
}

/** `config default` is every option described, `config dump` what holds with a file and flags. */
function configText(verb: string | undefined, flags: readonly string[]): string {
  if (verb === 'default') return defaultFile()
  if (verb === 'dump') return dumpCommandLine(flags)
  throw new Error(`it is "config default" or "config dump [--config FILE] [flags]", not "config ${verb ?? ''}"`)
}
