import { parts, runApp } from '@flotilla/compose'
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
} else if (argv[0] === 'config' && argv[1] === 'default') {
  process.stdout.write(defaultFile())
} else {
  await runApp({
    name: 'standalone',
    about: 'the whole containerd API on one socket, with its own metadata store and message bus',
    parts,
    embedsStores: true,
    isGateway: true,
  })
}
