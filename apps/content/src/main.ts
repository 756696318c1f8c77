import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'content', about: 'the content store of one node', parts: [part.content] })
