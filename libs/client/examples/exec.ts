// Writes to a process in a running container and reads what it answers.
import { text } from 'node:stream/consumers'
import { exec, run } from '@flotilla/client'
import { connect, image } from './world.ts'

using client = connect()
const container = await run(client, { image, args: ['sleep', '600'], output: 'none' })
try {
  const cat = await exec(client, { container: container.id, args: ['cat'], stdin: true })
  const answer = cat.stdout === undefined ? '' : text(cat.stdout)
  cat.stdin?.end('echoed by cat\n')
  process.stdout.write(await answer)
  process.exitCode = (await cat.wait()).code
  await cat.delete()
} finally {
  await container.remove()
}
