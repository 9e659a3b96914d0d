package main

import (
	"strings"
	"testing"
)

// commandRows say what the flags of a command do.
type commandRows struct {
	base, stdin string
	flags       map[string][]effect
}

// machineEffects are those of flags that change the speed and never the result, which same checks.
func machineEffects(base string, same check) map[string][]effect {
	return map[string][]effect{
		"threads":   {{base, "--threads 3", same}, {base, "--threads 0", isRefused("--threads is 0")}},
		"backend":   {{base, "--backend cpu", same}, {base, "--backend abacus", isRefused("abacus")}},
		"precision": {{base, "--precision fp32", same}, {base, "--precision bf16-cublaslt", same}, {base, "--precision int3", isRefused("int3")}},
	}
}

// workEffects are those of the flags that choose the data. games and text are command lines without and with a corpus, does
// is the check of a result.
func workEffects(neither, games, text string, does check) map[string][]effect {
	return map[string][]effect{
		"task":      {{neither, "--task tictactoe --positions 200", fixes("what to work on?")}},
		"positions": {{games, "--positions 100", does}},
		"task-seed": {{games, "--task-seed 2", does}},
		"format":    {{games, "--format moves", isRefused("format is")}},
		"examples":  {{games, "--examples ORDERS", isRefused("--examples and --task contradict")}},
		"lines":     {{games, "--lines", isRefused("--lines says how a text is read")}},
		"context":   {{text, "--context 9", does}},
		"held-out":  {{text, "--held-out 0.05", does}},
	}
}

// fitEffects are those of train and distill. more is what the command needs beside a workload; for texts it is moreText.
func fitEffects(more, moreText string) map[string][]effect {
	const fit = " --arch micro --steps 3 --batch 4 --out OUT"
	neither := more + fit
	games, text := "--task tictactoe --positions 200"+neither, "--corpus BOOK --context 8"+moreText+fit
	weights := differs("model/model.safetensors")
	equal := keeps("model/model.safetensors", nil)
	reference := fixes("a reference to compare losses with") // distill has its teachers
	if more != "" {
		reference = differs("last/state.json")
	}
	rows := workEffects(neither, games, text, weights)
	for name, list := range machineEffects(games, equal) {
		rows[name] = list
	}
	for name, list := range map[string][]effect{
		"corpus": {{moreText + fit, "--corpus BOOK --context 8", fixes("what to work on?")}},
		"arch":   {{games, "--arch mini", weights}, {games, "--arch huge", isRefused("--arch")}},
		"config": {{games, "--config CONFIG", weights}},
		"ple-dim": {{games, "--ple-dim 8", weights}, {games, "--ple-dim=-1", isRefused("ple_dim is -1")},
			{strings.Replace(games, "--arch micro", "", 1) + " --from FLOAT", "--ple-dim 8", isRefused("--ple-dim and --from contradict")}},
		"out": {{strings.Replace(games, "--out OUT", "", 1), "--out OUT", fixes("--out is missing")}},
		"from": {{strings.Replace(games, "--arch micro", "", 1), "--from FLOAT", weights},
			{strings.Replace(games, "--arch micro", "", 1), "--from FLOAT", holds("last/state.json", `"from": "`)},
			{games, "--from FLOAT", isRefused("--arch and --from contradict")}},
		"ranks":     {{games, "--ranks none", equal}, {games, "--ranks two", isRefused("--ranks is")}}, // more: TestRanks
		"allreduce": {{games, "--allreduce fast", equal}, {games, "--allreduce mean", isRefused("--allreduce is")}},
		"dist-lib":  {{games, "--dist-lib LIBRARY", equal}},
		"split":     {{games, "--split all", weights}},
		"qat":       {{games, "--qat", holds("model/config.json", `"int-quantized"`)}, {games, "--qat=1", weights}, {games, "--qat=2", isRefused("--qat is 2")}},
		"bits": {{games + " --qat", "--bits mlp.*=4", holds("model/config.json", `"mito-codes"`)}, {games + " --qat", "--bits conv.*=4", isRefused("conv.*")},
			{games, "--bits 4", isRefused("--bits and a run without --qat")}},
		"resume": {resumes(games)},
		"batch":  {{games, "--batch 5", weights}},
		"steps":  {{games, "--steps 4", weights}},
		"micro-batches": {{games, "--micro-batches 2", equal},
			{games, "--micro-batches 2", holds("last/state.json", `"micro_batches": 2`)}},
		"seed":         {{games, "--seed 2", weights}},
		"optimizer":    {{games, "--optimizer adamw", weights}},
		"lr":           {{games, "--lr 0.1", weights}},
		"muon-lr":      {{games, "--muon-lr 0.1", weights}},
		"beta1":        {{games, "--beta1 0.5", weights}},
		"beta2":        {{games, "--beta2 0.5", weights}},
		"momentum":     {{games, "--momentum 0.5", weights}},
		"weight-decay": {{games, "--weight-decay 0.5", weights}},
		"clip":         {{games + " --optimizer adamw", "--clip 0.00001", weights}},
		"schedule":     {{games, "--schedule cosine", weights}},
		"warmup":       {{games, "--warmup 2", weights}},
		"decay":        {{games, "--decay 1", weights}},
		"min-lr":       {{games, "--min-lr 0.5", weights}},
		"labels":       {{games, "--labels shared", weights}},
		"dropout":      {{games, "--dropout 0.5", weights}},
		"smoothing":    {{games, "--smoothing 0.2", weights}},
		"ema":          {{games, "--ema 0.9", weights}},
		"loss-tokens":  {{text, "--loss-tokens gradient", weights}, {text, "--loss-tokens loudest", isRefused("excess or gradient")}},
		"loss-share":   {{text + " --loss-tokens gradient", "--loss-share 0.2", weights}, {text, "--loss-share 0.2", isRefused("--loss-share and a run without")}},
		"reference": {{text + " --loss-tokens excess", "--reference TEXT", reference},
			{games, "--reference FLOAT", isRefused("--reference and a run without")}},
		"drop-tokens":  {{strings.Replace(games, "micro", "mini", 1), "--drop-tokens 0.5", weights}, {games, "--drop-tokens 0.5", isRefused("a model of 2 layers")}},
		"drop-until":   {{strings.Replace(games, "micro", "mini", 1) + " --drop-tokens 0.5", "--drop-until 1", weights}, {games, "--drop-until 1", isRefused("--drop-until and a run without")}},
		"filter-lines": {{text, "--filter-lines 1", weights}, {games, "--filter-lines 1", isRefused("--filter-lines and --task")}},
		"filter-runs":  {{text, "--filter-runs 1", weights}, {text, "--filter-runs -1", isRefused("want 0 or more")}},
		"eval-every":   {{games, "--eval-every 1", counts("metrics.jsonl", "loss/eval", 1, 3)}},
		"save-every":   {{games, "--save-every 3", holds("last/state.json", `"save_every": 3`)}},
		"log-every":    {{games, "--log-every 1", counts("metrics.jsonl", "loss/train", 2, 3)}},
	} {
		rows[name] = list
	}
	return rows
}

// commandEffects are the rows of TestEveryFlag, by command.
func commandEffects() map[string]commandRows {
	rows := map[string]commandRows{
		"mito": {}, "task": {}, "info": {flags: map[string][]effect{"model": {{"", "--model INT8", prints}, {"", "--model NONE", failsWith("there is no folder")}}}}, "version": {}, "task list": {}, "task describe": {base: "connect4"},
		"task examples": {base: "tictactoe --positions 200", flags: map[string][]effect{
			"split":     {{"", "--split test", prints}},
			"positions": {{"", "--positions 100", prints}},
			"task-seed": {{"", "--task-seed 2", prints}},
			"depth":     {{"connect4 --positions 200 --depth 2", "--depth 4", prints}},
			"format": {{"connect4 --positions 200 --depth 2", "--format moves", prints}, {"puzzle8 --positions 200", "--format distance", prints},
				{"", "--format distance", isRefused("its own only")}},
		}},
		"verify": {base: "--model INT8", flags: map[string][]effect{
			"model":      {{"--quiet", "--model INT8", fixes("--model is missing")}},
			"digest":     {{"", "--digest " + strings.Repeat("0", 64), failsWith("expected 000")}},
			"transcript": {{"--model TEXT", "--transcript TRANSCRIPT", fixes("not an INT8 student")}},
			"adapter":    {{"--model TEXT --transcript TRANSCRIPT", "--adapter ADAPTER", printsSame}, {"", "--adapter ADAPTER", isRefused("--adapter needs --transcript")}},
			"threads":    {{"--model TEXT --transcript TRANSCRIPT", "--threads 3", printsSame}, {"", "--threads 3", isRefused("--threads needs --transcript")}},
		}},
		"bench": {base: "decode", flags: map[string][]effect{
			"rounds":    {{"decode --json", "--rounds 2", prints}, {"decode", "--rounds 0", isRefused("--rounds is 0")}},
			"level":     {{"decode --json", "--level generic", prints}},
			"threads":   {{"decode --json", "--threads 7", prints}},
			"patience":  {{"decode --json", "--patience 3s", prints}},
			"only":      {{"techniques --json", "--only lora", prints}, {"techniques", "--only luck", isRefused("luck")}, {"", "--only lora", isRefused("bench decode")}},
			"corpus":    {{"techniques --json", "--corpus BOOK", prints}},
			"adapt-to":  {{"techniques --json --corpus BOOK", "--adapt-to BOOK", prints}, {"techniques", "--adapt-to BOOK", isRefused("without --corpus")}},
			"steps":     {{"techniques --json --corpus BOOK", "--steps 9", prints}, {"techniques --corpus BOOK", "--steps 0", isRefused("--steps is 0")}},
			"quick":     {{"techniques --json", "--quick", prints}, {"", "--quick", isRefused("bench decode")}},
			"record":    {{"techniques", "--record OUT", holds("", `"command": "mito`)}, {"", "--record OUT", isRefused("bench decode")}},
			"out":       {{"", "--out OUT", holds("", "## decode")}, {"gpu-model --step 460K", "--out OUT", holds("", "Modelled: 460K")}},
			"card":      {{"gpu-model --step 460K", "--card rtx4090", prints}, {"gpu-model", "--card voodoo", isRefused("h100")}, {"", "--card h100", isRefused("bench decode")}},
			"step":      {{"gpu-model --step 460K", "--step 7M-460K", prints}, {"gpu-model", "--step 7B", isRefused("7M-460K")}},
			"optimizer": {{"gpu-model --step 460K", "--optimizer muon", prints}, {"gpu-model", "--optimizer sgd", isRefused("muon")}},
			"precision": {{"gpu-model --step 460K", "--precision fp32", prints}, {"gpu-model", "--precision fp8", isRefused("bf16")},
				{"gpu-model", "--precision bf16-cublaslt", isRefused("take fp32 or bf16")}},
			"markdown": {{"", "--markdown", func(t *testing.T, _, with outcome) {
				succeeded(t, with)
				holdsOneFile(t, "bench/results")
			}}},
		}},
	}
	rows["search"], rows["worker"] = searchEffects(), workerEffects()
	rows["lora"] = loraEffects()
	rows["convert"] = convertEffects()
	rows["train"] = commandRows{base: "--task tictactoe --positions 200 --arch micro --steps 1 --batch 4 --out OUT", flags: fitEffects("", "")}
	const sparse = "--task tictactoe --positions 200 --arch micro --steps 3 --batch 4 --out OUT"
	rows["train"].flags["sparse"] = []effect{{sparse, "--sparse 0.5", differs("model/model.safetensors")}, {sparse, "--sparse 1", isRefused("sparse is 1")}}
	rows["train"].flags["sparse-method"] = []effect{{sparse + " --sparse 0.5", "--sparse-method rigl", differs("model/model.safetensors")},
		{sparse + " --sparse 0.5", "--sparse-method luck", isRefused("luck")}, {sparse, "--sparse-method rigl", isRefused("--sparse")}}
	const orders = "--arch micro --steps 3 --batch 4 --out OUT"
	rows["train"].flags["examples"] = []effect{{orders, "--examples ORDERS", fixes("what to work on?")}, {orders + " --corpus BOOK", "--examples ORDERS", isRefused("--examples and --corpus contradict")},
		{orders + " --examples ORDERS", "--examples ORDERS --task-seed 2", differs("model/model.safetensors")},
		{orders + " --examples ORDERS", "--examples ORDERS --bpe 260", differs("model/model.safetensors")},
		{orders + " --examples ORDERS", "--examples ORDERS --context 60", holds("model/config.json", `"max_position_embeddings": 60`)}}
	const list = orders + " --corpus ORDERS --context 40"
	rows["train"].flags["lines"] = []effect{{list, "--lines", differs("model/model.safetensors")}, {list + " --lines", "--lines --task-seed 2", differs("model/model.safetensors")},
		{list + " --lines", "--lines --context 9", failsWith("tokens where a row has 9")}, {list, "--lines --filter-lines 1", isRefused("--filter-lines and --lines")}}
	rows["train"].flags["bpe"] = []effect{{"--corpus BOOK --context 8 --arch micro --steps 3 --batch 4 --out OUT", "--bpe 258", differs("model/model.safetensors")}}
	rows["train"].flags["depth"] = []effect{{"--task connect4 --positions 200 --depth 2 --arch micro --steps 3 --batch 4 --out OUT", "--depth 4", differs("model/model.safetensors")}}

	rows["train"].flags["format"] = []effect{{"--task connect4 --positions 200 --depth 2 --arch micro --steps 3 --batch 4 --out OUT", "--format moves", differs("model/model.safetensors")},
		{"--task puzzle8 --positions 200 --arch micro --steps 3 --batch 4 --out OUT", "--format distance", differs("model/model.safetensors")}}

	const distill = "--task tictactoe --positions 200 --teacher FLOAT --arch micro --steps 3 --batch 4 --out OUT"
	rows["distill"] = commandRows{base: distill, flags: fitEffects(" --teacher FLOAT", " --teacher TEXT")}
	weights := differs("model/model.safetensors")
	for name, list := range map[string][]effect{
		"teacher": {{strings.Replace(distill, "--teacher FLOAT", "", 1), "--teacher FLOAT", fixes("--teacher is missing")}},
		"draft-for": {{strings.Replace(distill, "--teacher FLOAT", "", 1), "--draft-for FLOAT", fixes("--teacher is missing")},
			{strings.Replace(distill, "--teacher FLOAT", "--draft-for FLOAT --json", 1), "--alpha 0.5 --draft-for FLOAT", weights},
			{distill, "--draft-for FLOAT", isRefused("contradict each other")}},
		"tokenizer": {
			{"--teacher TEXT --corpus BOOK --context 8 --arch micro --steps 2 --batch 4 --out OUT", "--tokenizer bytes", weights},
			{"", "--tokenizer chars", isRefused("--tokenizer chars and --task")}, {"", "--tokenizer words", isRefused("want teacher, chars or bytes")},
		},
		"temperature": {{"", "--temperature 5", weights}},
		"alpha":       {{"", "--alpha 0.9", weights}},
		"cache":       {{"", "--cache", holds("teacher.cache", `"top_k"`)}},
		"top-k":       {{distill + " --cache", "--top-k 2", weights}},
		"depth":       {{"", "--depth 4", isRefused("depth")}},
	} {
		rows["distill"].flags[name] = list
	}

	int8 := differs("model.safetensors")
	const quantize = "--model FLOAT --out OUT"
	rows["quantize"] = commandRows{base: quantize, flags: workEffects(
		quantize+" --calibrate 8", quantize+" --calibrate 8 --task tictactoe --positions 200", "--model TEXT --out OUT --calibrate 2 --corpus BOOK", int8)}
	for name, list := range map[string][]effect{
		"model":  {{"--out OUT", "--model FLOAT", fixes("--model and --out are needed")}},
		"out":    {{"--model FLOAT", "--out OUT", fixes("--model and --out are needed")}},
		"method": {{"", "--method rtn", int8}, {quantize + " --calibrate self:3", "--method gptq", int8}, {"", "--method gptq", isRefused("--method gptq needs --calibrate")}},
		"bits": {{"", "--bits mlp.*=4,embed=ternary", int8}, {"", "--bits conv.*=4", isRefused("conv.*")}, {"", "--bits mlp.*=9", isRefused("mlp.*=9")},
			{"", "--bits attn.*=f16", isRefused("no f16 matrix")}},
		"calibrate": {{quantize, "--calibrate 8 --task tictactoe --positions 200", int8}, {"", "--calibrate self:3", int8}, {"", "--calibrate self:0", isRefused("--calibrate is self:0")}},
		"bytes": {{quantize + " --calibrate self:3", "--bytes 40K", holds("config.json", `"mito-codes"`)}, {quantize + " --calibrate self:3", "--bytes 1K", isRefused("the weights take")},
			{"", "--bytes 40K", isRefused("--bytes needs --calibrate")}, {"", "--bytes lots", isRefused("--bytes is")}},
		"sigma":  {{quantize + " --method sigma", "--sigma 2", int8}, {"", "--sigma 2", isRefused("--sigma and --method search")}},
		"smooth": {{quantize + " --calibrate self:3", "--smooth 0.5", int8}, {"", "--smooth 0.5", isRefused("--smooth needs --calibrate")}, {"", "--smooth 1", isRefused("--smooth")}},
		"corpus": {{"--model TEXT --out OUT --calibrate 2", "--corpus BOOK", fixes("what to work on?")}},
		"format": {{quantize + " --calibrate 8 --task tictactoe", "--format moves", isRefused("format is")}},
		"depth":  {{quantize + " --calibrate 8 --task tictactoe", "--depth 4", isRefused("depth")}},
		"threads": {{quantize + " --calibrate 8 --task tictactoe --positions 200", "--threads 3", keeps("model.safetensors", nil)},
			{quantize + " --calibrate 8 --task tictactoe", "--threads 0", isRefused("--threads is 0")}},
		"qat": {{quantize + " --task tictactoe --positions 200", "--qat 3", fixes("which are missing")}, {"", "--qat -1", isRefused("--qat is -1")}},
	} {
		rows["quantize"].flags[name] = list
	}
	const aware = quantize + " --task tictactoe --positions 200 --qat 3 --batch 4"
	trained := differs("model/model.safetensors")
	for name, list := range map[string][]effect{
		"seed":  {{aware, "--seed 2", trained}, {quantize, "--seed 2", isRefused("--seed and a run without --qat")}},
		"batch": {{aware, "--batch 5", trained}}, "optimizer": {{aware, "--optimizer adamw", trained}},
		"lr": {{aware, "--lr 0.1", trained}}, "muon-lr": {{aware, "--muon-lr 0.1", trained}}, "ema": {{aware, "--ema 0.9", trained}},
		"temperature": {{aware, "--temperature 5", trained}}, "alpha": {{aware, "--alpha 0.9", trained}},
		"micro-batches": {{aware, "--micro-batches 2", keeps("model/model.safetensors", nil)}, {aware, "--micro-batches 2", holds("last/state.json", `"micro_batches": 2`)}},
		"save-every":    {{aware, "--save-every 3", holds("last/state.json", `"save_every": 3`)}},
		"resume":        {resumes(aware)},
		"backend":       {{aware, "--backend cpu", keeps("model/model.safetensors", nil)}, {aware, "--backend abacus", isRefused("abacus")}},
		"precision":     {{aware, "--precision fp32", keeps("model/model.safetensors", nil)}, {aware, "--precision int3", isRefused("int3")}},
	} {
		rows["quantize"].flags[name] = list
	}

	pruned := differs("model.safetensors")
	recovered := differs("model/model.safetensors")
	const prune = "--model FLOAT --out OUT --kind block4x8 --sparsity 0.5 --score wanda --task tictactoe --positions 200"
	const recover = prune + " --steps 3 --batch 4"
	const pruneText = "--model TEXT --out OUT --kind block4x8 --sparsity 0.5 --calibrate 2 --corpus BOOK"
	rows["prune"] = commandRows{base: prune, flags: workEffects(
		strings.TrimSuffix(prune, " --task tictactoe --positions 200"), prune, pruneText, pruned)}
	for name, list := range machineEffects(recover, keeps("model/model.safetensors", nil)) {
		rows["prune"].flags[name] = list
	}
	for name, list := range map[string][]effect{
		"model":       {{strings.Replace(prune, "--model FLOAT", "", 1), "--model FLOAT", fixes("--model, --out and --kind are needed")}},
		"out":         {{strings.Replace(prune, "--out OUT", "", 1), "--out OUT", fixes("--model, --out and --kind are needed")}},
		"kind":        {{strings.Replace(prune, "--kind block4x8", "", 1), "--kind unstructured", fixes("--model, --out and --kind are needed")}, {prune, "--kind cubes", isRefused("cubes")}},
		"sparsity":    {{prune, "--sparsity 0.75", pruned}, {prune, "--sparsity 1", isRefused("--sparsity is 1")}},
		"keep":        {{strings.Replace(prune, "block4x8 --sparsity 0.5", "neurons --sparsity 0", 1), "--keep 7", fixes("--sparsity is 0")}, {prune, "--keep 7", isRefused("--keep is 7")}},
		"score":       {{prune, "--score magnitude", pruned}, {prune, "--score luck", isRefused("luck")}},
		"spread":      {{prune, "--spread 0.3", pruned}, {prune, "--spread 1", isRefused("spread is 1")}},
		"decay":       {{recover, "--decay 0.4", recovered}},
		"modules":     {{prune, "--modules mlp.*", pruned}, {prune, "--modules conv.*", isRefused("conv.*")}},
		"calibrate":   {{prune, "--calibrate 2", pruned}, {prune + " --score magnitude", "--calibrate 2", isRefused("--calibrate")}},
		"corpus":      {{strings.Replace(pruneText, "--corpus BOOK", "", 1), "--corpus BOOK", fixes("what to work on?")}},
		"context":     {{pruneText, "--context 9", pruned}, {pruneText, "--context 17", isRefused("has a context of 16")}},
		"seed":        {{prune + " --calibrate 2", "--seed 2", pruned}},
		"depth":       {{prune, "--depth 4", isRefused("depth")}},
		"steps":       {{recover, "--steps 4", recovered}, {prune, "--steps -1", isRefused("--steps is -1")}},
		"schedule":    {{recover, "--schedule cubic", recovered}, {prune, "--schedule cubic", isRefused("--schedule")}},
		"teacher":     {{recover, "--teacher TEXT", failsWith("tokenizer")}, {prune, "--teacher FLOAT", isRefused("--teacher")}},
		"temperature": {{recover, "--temperature 5", recovered}},
		"alpha":       {{recover, "--alpha 0.9", recovered}},
		"batch":       {{recover, "--batch 5", recovered}},
		"micro-batches": {{recover, "--micro-batches 2", keeps("model/model.safetensors", nil)},
			{recover, "--micro-batches 2", holds("last/state.json", `"micro_batches": 2`)}},
		"optimizer":  {{recover, "--optimizer adamw", recovered}},
		"lr":         {{recover, "--lr 0.1", recovered}},
		"muon-lr":    {{recover, "--muon-lr 0.1", recovered}},
		"ema":        {{recover, "--ema 0.9", recovered}},
		"save-every": {{recover, "--save-every 3", holds("last/state.json", `"save_every": 3`)}},
		"resume":     {resumes(recover)},
	} {
		rows["prune"].flags[name] = list
	}

	const eval, text = "--model FLOAT --task tictactoe --positions 200 --games 4", "--model TEXT --corpus BOOK"
	rows["eval"] = commandRows{base: eval, flags: workEffects("--model FLOAT --games 4", eval, text, prints)}
	for name, list := range map[string][]effect{
		"model":       {{"--task tictactoe --positions 200 --games 4", "--model FLOAT", fixes("--model is missing")}},
		"corpus":      {{"--model TEXT", "--corpus BOOK", fixes("what to work on?")}},
		"context":     {{text, "--context 9", prints}, {text, "--context 17", isRefused("has a context of 16")}},
		"held-out":    {{text, "--held-out 0.4", prints}, {text + " --all", "--held-out 0.4", isRefused("contradict")}},
		"adapter":     {{text, "--adapter ADAPTER", prints}, {text + " --adapter a=ADAPTER", "--adapter b=ADAPTER", isRefused("given 2 times")}},
		"all":         {{text, "--all", prints}},
		"split":       {{"", "--split train", prints}},
		"scorer":      {{"", "--scorer SCORER", isRefused("--scorer marks answers that are texts")}, {text, "--scorer SCORER", isRefused("--scorer and --corpus")}},
		"opponent":    {{"", "--opponent perfect", prints}},
		"player":      {{"", "--player policy", isRefused("one way to play")}},
		"games":       {{"", "--games 5", prints}},
		"confidence":  {{text, "--confidence", prints}, {"", "--confidence", prints}},
		"calibration": {{text + " --confidence", "--calibration OUT", holds("", `"temperature"`)}, {"", "--calibration OUT", isRefused("needs --confidence")}},
		"seed":        {{eval + " --json", "--seed 2", prints}},
		"depth":       {{"", "--depth 4", isRefused("depth")}},
		"threads":     {{"", "--threads 3", printsSame}, {"", "--threads 0", isRefused("--threads is 0")}},
	} {
		rows["eval"].flags[name] = list
	}

	const needed = "--model and --out are needed"
	rows["logits"] = commandRows{base: "--model TEXT --tokens 1,2 --out OUT", flags: map[string][]effect{
		"model":   {{"--tokens 1,2 --out OUT", "--model TEXT", fixes(needed)}},
		"out":     {{"--model TEXT --tokens 1,2", "--out OUT", fixes(needed)}},
		"tokens":  {{"--model TEXT --out OUT", "--tokens 1,2", fixes("give --tokens")}, {"--model TEXT --prompt the --out OUT", "--tokens 1", isRefused("one of them")}},
		"prompt":  {{"--model TEXT --out OUT", "--prompt the", fixes("give --tokens")}},
		"threads": {{"", "--threads 3", keeps("", nil)}, {"", "--threads 0", isRefused("--threads is 0")}},
	}}
	rows["tokens"] = commandRows{base: "--model TEXT", stdin: `"the" [1, 2]`, flags: map[string][]effect{
		"model": {{"--text the", "--model TEXT", fixes("--model is missing")}},
		"text":  {{"", "--text the", prints}},
	}}
	const exportC = "c --model INT8 --out OUT"
	rows["export"] = commandRows{base: "hf --model FLOAT --out OUT", flags: map[string][]effect{
		"model":          {{"hf --out OUT", "--model INT8", fixes(needed)}},
		"out":            {{"hf --model INT8", "--out OUT", fixes(needed)}},
		"check":          {{"", "--check", prints}},
		"full-attention": {{"", "--full-attention", failsWith("it looks at everything already")}},
		"type":           {{"gguf --model TEXT --out OUT", "--type Q8_0", differs("")}, {"", "--type Q8_0", isRefused("")}},
		"no-tokenizer":   {{"gguf --model TEXT --out OUT", "--no-tokenizer", differs("")}},
		"threads":        {{"hf --model INT8 --out OUT --check", "--threads 3", printsSame}, {"", "--threads 0", isRefused("--threads is 0")}},
		"dry-run":        {{"c --model INT8", "--dry-run", fixes(needed)}, {"", "--dry-run", isRefused("hf is not for devices")}},
		"flash":          {{"c --model INT8 --dry-run", "--flash 1K", failsWith("bytes of flash")}, {"c --model INT8 --dry-run", "--flash much", isRefused("--flash is")}},
		"target": {{"c --model INT8 --dry-run --flash 1K", "--target cortex-m4f", func(t *testing.T, without, with outcome) {
			if with.code != exitFailure || without.stderr == with.stderr {
				t.Errorf("%q without, %q with", without.stderr, with.stderr)
			}
		}}, {"c --model INT8 --dry-run", "--target abacus", isRefused("unknown target")}},
		"name": {{exportC, "--name oracle", holds("student.h", "oracle_step")}, {exportC, "--name 1x", isRefused("no identifier")}, {"", "--name x", isRefused("hf is not")}},
		"task": {{exportC, "--task tictactoe", holds("model.h", "#define STUDENT_TASK 9")}, {exportC, "--task go", isRefused("unknown task")},
			{"web --model INT8 --out OUT", "--task tictactoe", holds("", `"rows":3`)}, {"web --model INT8 --out OUT", "--task go", isRefused("unknown task")}},
		"adapter":     {{exportC, "--adapter ADAPTER", failsWith("adapter")}, {"hf --model TEXT --out OUT", "--adapter ADAPTER", isRefused("--adapter, --flash")}},
		"choices":     {{exportC, "--choices 1 --choices 28", holds("model.h", "#define STUDENT_GRAMMAR 3")}, {"", "--choices 1", isRefused("hf is not")}},
		"regex":       {{exportC, "--regex [0-8]{2}", holds("model.h", "#define STUDENT_GRAMMAR 3")}, {exportC, "--regex (", isRefused("missing closing")}},
		"grammar":     {{exportC, "--grammar json", failsWith("which no token has")}, {exportC, "--grammar NONE", failsWith("--grammar")}},
		"single-file": {{exportC, "--single-file", holds("student.single.h", "STUDENT_IMPLEMENTATION")}},
	}}
	rows["import"] = commandRows{base: "hf --from FLOAT --out OUT", flags: map[string][]effect{
		"from":         {{"hf --out OUT", "--from TEXT", fixes("--from and --out are needed")}},
		"no-tokenizer": {{"", "--no-tokenizer", differs("tokenizer.json")}},
		"out":          {{"hf --from TEXT", "--out OUT", fixes("--from and --out are needed")}},
		"check":        {{"", "--check", prints}},
		"threads":      {{"hf --from TEXT --out OUT --check", "--threads 3", printsSame}, {"", "--threads 0", isRefused("--threads is 0")}},
	}}

	const generate = "--model TEXT --prompt the --max-tokens 12"
	rows["generate"] = commandRows{base: generate, stdin: `{"prompt": "the", "max_tokens": 2}`, flags: map[string][]effect{
		"model":        {{"--prompt the", "--model TEXT", fixes("--model is missing")}},
		"prompt":       {{"--model TEXT", "--prompt the", fixes("--prompt is missing")}},
		"stdin":        {{"--model TEXT --json", "--stdin", fixes("--prompt is missing")}},
		"adapter":      {{"", "--adapter ADAPTER", prints}, {"", "--adapter =x", isRefused("--adapter is")}},
		"max-tokens":   {{"", "--max-tokens 6", prints}},
		"temperature":  {{"", "--temperature 3", prints}},
		"top-k":        {{generate + " --temperature 3", "--top-k 1", prints}},
		"top-p":        {{generate + " --temperature 3", "--top-p 0.01", prints}},
		"min-p":        {{generate + " --temperature 3", "--min-p 0.99", prints}},
		"seed":         {{generate + " --temperature 3", "--seed 2", prints}},
		"choices":      {{"", "--choices lazy --choices dog", printsWhole("lazy", "dog")}, {"", "--choices=", isRefused("is empty")}, {"", "--choices a --stop b", isRefused("contradict each other")}},
		"regex":        {{generate + " --temperature 3", "--regex (fox|dog){2,3}", printsWhole("foxfox", "foxdog", "dogfox", "dogdog", "foxfoxfox", "foxfoxdog", "foxdogfox", "foxdogdog", "dogfoxfox", "dogfoxdog", "dogdogfox", "dogdogdog")}, {"", "--regex (", isRefused("missing closing")}, {"", "--regex a{13}", failsWith("12 tokens are not enough")}},
		"grammar":      {{"", "--grammar GRAMMAR", printsWhole("quick fox", "quick dog")}, {"", "--grammar json", failsWith("which no token has")}, {"", "--grammar GRAMMAR --regex a", isRefused("contradict each other")}},
		"votes":        {{generate + " --temperature 3 --json", "--votes 3", prints}, {"", "--votes 0", isRefused("--votes is 0, want 1")}, {"", "--votes 3", isRefused("needs a --temperature")}, {generate + " --temperature 1", "--votes 2 --spec ngram", isRefused("contradict")}},
		"abstain":      {{"", "--abstain 1", prints}, {"", "--abstain 2", isRefused("--abstain is 2")}},
		"calibration":  {{generate + " --json --votes 1", "--calibration CALIBRATION", prints}, {"", "--calibration TRANSCRIPT", failsWith("was not written by")}, {"--model FLOAT --prompt 1", "--calibration CALIBRATION", failsWith("fit one for this model")}},
		"prefix-cache": {{"", "--prefix-cache 0", printsSame}, {"", "--prefix-cache -1", isRefused("--prefix-cache is -1")}},
		"transcript":   {{"", "--transcript OUT", holds("", `"text": "`)}, {"", "--transcript OUT", printsSame}},
		"stop":         {{generate + " --temperature 3", "--stop=e --stop=o --stop=a --stop=u --stop=i --stop=t --stop=n", prints}},
		"spec":         {{generate + " --json", "--spec ngram", prints}, {generate + " --temperature 3", "--spec ngram", printsSame}, {"", "--spec fast", isRefused("--spec is \"fast\"")}},
		"draft":        {{generate + " --json", "--draft TEXT", prints}, {"", "--draft TEXT", printsSame}, {"", "--draft TEXT --spec ngram", isRefused("contradict each other")}},
		"draft-max":    {{generate + " --spec ngram", "--draft-max 3", printsSame}, {"", "--draft-max 3", isRefused("needs --spec")}, {generate + " --spec ngram", "--draft-max 0", isRefused("want 1 or more")}},
		"threads":      {{"", "--threads 3", printsSame}, {"", "--threads 0", isRefused("--threads is 0")}},
	}}

	const pipeline, book = "--task tictactoe --out OUT", "--corpus BOOK --context 8 --out OUT"
	ships := differs("compressed/model.safetensors")
	rows["pipeline"] = commandRows{base: pipeline, flags: workEffects("", pipeline, book, ships)}
	for name, list := range machineEffects(pipeline, keeps("compressed/model.safetensors", nil)) {
		rows["pipeline"].flags[name] = list
	}
	for name, list := range map[string][]effect{
		"task":     {{"--out OUT", "--task puzzle8", ships}},
		"corpus":   {{"--out OUT", "--corpus BOOK", ships}},
		"depth":    {{"--task connect4 --depth 2 --out OUT", "--depth 4", ships}},
		"format":   {{"--task puzzle8 --out OUT", "--format distance", ships}},
		"bpe":      {{book, "--bpe 258", ships}},
		"examples": {{"--out OUT", "--examples ORDERS", ships}},
		"lines":    {{"--corpus ORDERS --context 40 --out OUT", "--lines", ships}},
		"scorer": {{"--examples ORDERS --out OUT", "--scorer SCORER", holds("report.json", `"program"`)}, {"", "--scorer SCORER", isRefused("--scorer marks answers that are texts")},
			{"--examples ORDERS --out OUT", "--scorer /nonexistent", failsWith("does not start")}},
		"positions": {{"", "--positions 200", ships}},
		"preset":    {{"", "--preset quick", ships}, {"", "--preset huge", isRefused("huge")}},
		"out":       {{"--task tictactoe", "--out OUT", holds("report.json", `"task"`)}},
		"seed":      {{"", "--seed 2", ships}},
		"teacher":   {{book, "--teacher TEXT", ships}, {"", "--teacher FLOAT --teachers 2", isRefused("contradict each other")}},
		"tokenizer": {{book + " --teacher TEXT", "--tokenizer bytes", ships}, {book, "--tokenizer bytes", isRefused("a run without --teacher")}},
		"arch":      {{"", "--arch mini", ships}, {"", "--arch huge", isRefused("--arch")}},
		"teachers":  {{"", "--teachers 2", ships}},
		"assistant": {{"", "--assistant micro", ships}},
		"budget": {{"", "--budget flash=70K,ram=4K", holds("report.json", `"ram_budget": 4096`)}, {"", "--budget flash=1K", isRefused("a student that can be searched for takes that")},
			{"", "--budget flash", isRefused("flash=256K")}, {"--arch mini", "--budget flash=512K", isRefused("contradict")}},
		"games":  {{"", "--games 3", holds("report.json", `"games": 3`)}},
		"resume": {resumes(pipeline)},
	} {
		rows["pipeline"].flags[name] = list
	}
	return rows
}
