// For tests: a relay in a process of its own, to be killed. Argument: the store's address. Prints a line when it runs.
import { createMetadata } from '@flotilla/metadata'
import { quiet } from './fixture.ts'
import { createRelay } from './relay.ts'

const [url = ''] = process.argv.slice(2)
createRelay({ metadata: await createMetadata({ url, origin: 'relay' }), logger: quiet })
process.stdout.write('relaying\n')
