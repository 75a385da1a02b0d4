package redisfront

import _ "embed"

var (
	//go:embed admit.lua
	admitText string
	//go:embed learn.lua
	learnText string
	//go:embed limit.lua
	limitText string
	//go:embed unlock.lua
	unlockText string
	//go:embed take.lua
	takeText string
	//go:embed due.lua
	dueText string
	//go:embed publish.lua
	publishText string

	admitScript, learnScript, limitScript = newScript(admitText), newScript(learnText), newScript(limitText)
	unlockScript, publishScript           = newScript(unlockText), newScript(publishText)
	dueScript, takeScript                 = newScript(dueText), newScript(takeText)
)
