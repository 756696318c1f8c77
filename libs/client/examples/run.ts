// Runs a command in a container and passes its output and its exit status on.
import { run } from '@flotilla/client'
import { connect, image } from './world.ts'

using client = connect()
const container = await run(client, { image, args: ['echo', 'hello from a container'] })
for await (const piece of container.stdout ?? []) process.stdout.write(piece)
process.exitCode = (await container.wait()).code
await container.remove()
